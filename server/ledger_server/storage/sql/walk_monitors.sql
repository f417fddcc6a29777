-- Ids of monitors, in order, for whoever verifies their states.
-- $1 ledger_id uuid, $2 after_monitor_id text, $3 row_count bigint
SELECT monitor_id
FROM monitors
WHERE ledger_id = $1::uuid AND monitor_id > $2::text::uuid
ORDER BY monitor_id
LIMIT $3::bigint
