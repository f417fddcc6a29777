-- The transactions of some entries.
-- $1 ledger_id uuid, $2 entry_ids text[]
SELECT DISTINCT transaction_id
FROM entries
WHERE ledger_id = $1::uuid AND entry_id = ANY ($2::text[]::uuid[])
