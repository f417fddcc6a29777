-- Created positions of transactions by id.
-- $1 ledger_id uuid, $2 row_count bigint, $3 transaction_ids text[]
SELECT created_position
FROM transactions
WHERE ledger_id = $1::uuid AND transaction_id = ANY ($3::text[]::uuid[])
LIMIT $2::bigint
