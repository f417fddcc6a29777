-- The monitors of one bite that live and pass the filters, oldest first.
-- A bite is a range of created positions with a bounded number of monitors, so any plan along the range will do.
-- $1 ledger_id uuid, $2 after_position bigint, $3 last_position bigint, $4 triggered boolean or null, $5 metadata jsonb,
-- $6 row_count bigint
SELECT
    ledger_id, monitor_id, account_id, category_id, created_position, created_at, updated_at, version, field, operator,
    value, resolve_value, description, metadata, triggered, since_position, since, deleted_at
FROM monitors
WHERE ledger_id = $1::uuid AND created_position > $2::bigint AND created_position <= $3::bigint
    AND deleted_at IS NULL
    AND ($4::boolean IS NULL OR triggered = $4::boolean)
    AND metadata @> $5::jsonb
ORDER BY created_position
LIMIT $6::bigint
