-- The monitors on accounts, oldest first.
-- $1 ledger_id bigint, $2 account_ids text[]
SELECT
    ledger_id, monitor_id, account_id, category_id, created_position, created_at, updated_at, version, field, operator,
    value, resolve_value, description, metadata, triggered, since_position, since, deleted_at
FROM monitors
WHERE ledger_id = $1::bigint AND account_id = ANY ($2::text[]::uuid[]) AND deleted_at IS NULL
ORDER BY created_position
