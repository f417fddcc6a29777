-- Each statement is planned as for a ledger that has all the rows. By ANALYZE's own count, where a hundred thousand
-- ledgers have next to nothing, one has a row or two, and any index that begins with it finds them as well as the right
-- one; a ledger that did have many was then read whole, for each foreign key too. ANALYZE takes this for its count.
ALTER TABLE accounts ALTER COLUMN ledger_id SET (n_distinct = 1);
ALTER TABLE account_limits ALTER COLUMN ledger_id SET (n_distinct = 1);
ALTER TABLE currencies ALTER COLUMN ledger_id SET (n_distinct = 1);
ALTER TABLE transactions ALTER COLUMN ledger_id SET (n_distinct = 1);
ALTER TABLE transaction_versions ALTER COLUMN ledger_id SET (n_distinct = 1);
ALTER TABLE account_lines ALTER COLUMN ledger_id SET (n_distinct = 1);
ALTER TABLE entry_reversals ALTER COLUMN ledger_id SET (n_distinct = 1);
ALTER TABLE events ALTER COLUMN ledger_id SET (n_distinct = 1);
ALTER TABLE requests ALTER COLUMN ledger_id SET (n_distinct = 1);
ALTER TABLE account_timelines ALTER COLUMN ledger_id SET (n_distinct = 1);
ALTER TABLE account_timeline_blocks ALTER COLUMN ledger_id SET (n_distinct = 1);
ALTER TABLE categories ALTER COLUMN ledger_id SET (n_distinct = 1);
ALTER TABLE category_versions ALTER COLUMN ledger_id SET (n_distinct = 1);
ALTER TABLE category_accounts ALTER COLUMN ledger_id SET (n_distinct = 1);
ALTER TABLE category_nestings ALTER COLUMN ledger_id SET (n_distinct = 1);
ALTER TABLE monitors ALTER COLUMN ledger_id SET (n_distinct = 1);
ALTER TABLE monitor_conditions ALTER COLUMN ledger_id SET (n_distinct = 1);
ALTER TABLE metadata_pairs ALTER COLUMN ledger_id SET (n_distinct = 1);
ALTER TABLE entry_metadata ALTER COLUMN ledger_id SET (n_distinct = 1);
