-- The states of monitors, deleted ones included, as they stand.
-- $1 ledger_id uuid, $2 monitor_ids text[]
SELECT monitor_id, triggered, since_position, deleted_position
FROM monitors
WHERE ledger_id = $1::uuid AND monitor_id = ANY ($2::text[]::uuid[])
ORDER BY monitor_id
