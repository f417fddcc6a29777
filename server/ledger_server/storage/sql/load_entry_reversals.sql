-- How much of entries is reversed.
-- $1 ledger_id uuid, $2 entry_ids text[]
SELECT entry_id, reversed, amount
FROM entry_reversals
WHERE ledger_id = $1::uuid AND entry_id = ANY ($2::text[]::uuid[])
