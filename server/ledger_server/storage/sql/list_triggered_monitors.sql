-- Triggered monitors after a created position, oldest first.
-- The index monitors_triggered holds these and no others, so it is walked until LIMIT.
-- $1 ledger_id uuid, $2 after_position bigint, $3 row_count bigint
SELECT
    ledger_id, monitor_id, account_id, category_id, created_position, created_at, updated_at, version, field, operator,
    value, resolve_value, description, metadata, triggered, since_position, since, deleted_at
FROM monitors
WHERE ledger_id = $1::uuid AND created_position > $2::bigint AND triggered AND deleted_at IS NULL
ORDER BY created_position
LIMIT $3::bigint
