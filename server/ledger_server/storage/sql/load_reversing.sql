-- The non-archived transactions that reverse some transactions, oldest first.
-- $1 ledger_id bigint, $2 transaction_ids text[]
SELECT reverses_id, transaction_id
FROM transactions
WHERE ledger_id = $1::bigint AND reverses_id = ANY ($2::text[]::uuid[]) AND reverses_id IS NOT NULL AND status <> 3
ORDER BY created_position
