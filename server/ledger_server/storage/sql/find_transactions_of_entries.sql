-- The transactions of some entries.
-- $1 ledger_id bigint, $2 entry_ids bigint[]
SELECT DISTINCT transaction_id
FROM entries
WHERE ledger_id = $1::bigint AND entry_id = ANY ($2::bigint[])
