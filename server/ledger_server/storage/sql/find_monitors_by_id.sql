-- Created positions of monitors by id.
-- $1 ledger_id bigint, $2 row_count bigint, $3 monitor_ids text[]
SELECT created_position
FROM monitors
WHERE ledger_id = $1::bigint AND monitor_id = ANY ($3::text[]::uuid[])
LIMIT $2::bigint
