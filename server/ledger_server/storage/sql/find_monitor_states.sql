-- The states of monitors, deleted ones included, as they stand.
-- $1 ledger_id bigint, $2 monitor_ids text[]
SELECT monitor_id, triggered, since_position, deleted_position
FROM monitors
WHERE ledger_id = $1::bigint AND monitor_id = ANY ($2::text[]::uuid[])
ORDER BY monitor_id
