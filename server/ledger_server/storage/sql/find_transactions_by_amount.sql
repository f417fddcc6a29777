-- Created positions of transactions in a range of amounts, in any order.
-- $1 ledger_id bigint, $2 row_count bigint, $3 least numeric, $4 most numeric
SELECT created_position
FROM transactions
WHERE ledger_id = $1::bigint AND amount IS NOT NULL AND amount >= $3::numeric AND amount <= $4::numeric
LIMIT $2::bigint
