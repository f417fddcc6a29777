-- Created positions of the parts of a pending transaction.
-- $1 ledger_id uuid, $2 row_count bigint, $3 transaction_id uuid
SELECT created_position
FROM transactions
WHERE ledger_id = $1::uuid AND partially_posts_id = $3::uuid
LIMIT $2::bigint
