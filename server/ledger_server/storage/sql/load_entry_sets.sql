-- The entries of all versions of some transactions: of each set the first id and the count.
-- $1 ledger_id uuid, $2 transaction_ids text[]
SELECT transaction_id, first_entry_id, entry_count
FROM transactions
WHERE ledger_id = $1::uuid AND transaction_id = ANY ($2::text[]::uuid[])
UNION
SELECT transaction_id, first_entry_id, entry_count
FROM transaction_versions
WHERE ledger_id = $1::uuid AND transaction_id = ANY ($2::text[]::uuid[])
