-- Created positions of transactions in a range of effective times, in any order.
-- $1 ledger_id bigint, $2 row_count bigint, $3 lower_bound text, $4 upper_bound text, exclusive
SELECT created_position
FROM transactions
WHERE ledger_id = $1::bigint AND effective_at >= $3::text::timestamptz AND effective_at < $4::text::timestamptz
LIMIT $2::bigint
