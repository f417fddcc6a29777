-- Created positions of the transactions that reverse one.
-- $1 ledger_id bigint, $2 row_count bigint, $3 transaction_id uuid
SELECT created_position
FROM transactions
WHERE ledger_id = $1::bigint AND reverses_id = $3::uuid
LIMIT $2::bigint
