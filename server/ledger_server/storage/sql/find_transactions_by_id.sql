-- Created positions of transactions by id.
-- $1 ledger_id bigint, $2 row_count bigint, $3 transaction_ids text[]
SELECT created_position
FROM transactions
WHERE ledger_id = $1::bigint AND transaction_id = ANY ($3::text[]::uuid[])
LIMIT $2::bigint
