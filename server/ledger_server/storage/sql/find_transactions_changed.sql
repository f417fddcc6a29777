-- Created positions of transactions that were changed since they were created.
-- $1 ledger_id bigint, $2 row_count bigint
SELECT created_position
FROM transactions
WHERE ledger_id = $1::bigint AND version > 0 AND updated_at > '-infinity'
-- The order is that of the index of changed ones; where most are changed any other would do for the planner.
ORDER BY updated_at
LIMIT $2::bigint
