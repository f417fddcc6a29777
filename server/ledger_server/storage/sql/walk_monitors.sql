-- Ids of monitors, in order, for whoever verifies their states.
-- $1 ledger_id bigint, $2 after_monitor_id text, $3 row_count bigint
SELECT monitor_id
FROM monitors
WHERE ledger_id = $1::bigint AND monitor_id > $2::text::uuid
ORDER BY monitor_id
LIMIT $3::bigint
