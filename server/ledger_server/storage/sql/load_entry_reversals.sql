-- How much of entries is reversed.
-- $1 ledger_id bigint, $2 entry_ids bigint[]
SELECT entry_id, reversed, amount
FROM entry_reversals
WHERE ledger_id = $1::bigint AND entry_id = ANY ($2::bigint[])
