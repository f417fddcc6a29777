-- Created positions of transactions in a range of them.
-- $1 ledger_id bigint, $2 row_count bigint, $3 low bigint, $4 high bigint, exclusive
SELECT created_position
FROM transactions
WHERE ledger_id = $1::bigint AND created_position >= $3::bigint AND created_position < $4::bigint
LIMIT $2::bigint
