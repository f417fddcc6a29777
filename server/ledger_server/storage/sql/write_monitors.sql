-- Monitors that are new, changed, triggered, resolved or deleted, as a batch left them, and how many there are.
-- $1 ledger_id bigint; then columns as array literals, text:
--   $2 monitor_ids, $3 account_ids, $4 category_ids, $5 created_positions, $6 created_ats, $7 updated_ats, $8 versions,
--   $9 fields, $10 operators, $11 values, $12 resolve_values, $13 descriptions, $14 metadatas, $15 triggereds,
--   $16 since_positions, $17 sinces, $18 deleted_positions, $19 deleted_ats
-- $20 by how many the ledger has more bigint
WITH counted AS (
    UPDATE ledgers SET monitor_count = monitor_count + $20::bigint
    WHERE ledger_id = $1::bigint AND $20::bigint <> 0
)
INSERT INTO monitors (
    ledger_id, monitor_id, account_id, category_id, created_position, created_at, updated_at, version, field, operator,
    value, resolve_value, description, metadata, triggered, since_position, since, deleted_position, deleted_at
)
SELECT
    $1::bigint, r.monitor_id, r.account_id, r.category_id, r.created_position, r.created_at, r.updated_at, r.version,
    r.field, r.operator, r.value, r.resolve_value, r.description, r.metadata, r.triggered, r.since_position, r.since,
    r.deleted_position, r.deleted_at
FROM unnest(
    $2::text::uuid[], $3::text::uuid[], $4::text::uuid[], $5::text::bigint[], $6::text::timestamptz[],
    $7::text::timestamptz[], $8::text::bigint[], $9::text::smallint[], $10::text::smallint[], $11::text::numeric[],
    $12::text::numeric[], $13::text::text[], $14::text::jsonb[], $15::text::boolean[], $16::text::bigint[],
    $17::text::timestamptz[], $18::text::bigint[], $19::text::timestamptz[]
) AS r (
    monitor_id, account_id, category_id, created_position, created_at, updated_at, version, field, operator, value,
    resolve_value, description, metadata, triggered, since_position, since, deleted_position, deleted_at
)
ON CONFLICT (ledger_id, monitor_id) DO UPDATE
SET updated_at = excluded.updated_at, version = excluded.version, field = excluded.field, operator = excluded.operator,
    value = excluded.value, resolve_value = excluded.resolve_value, description = excluded.description,
    metadata = excluded.metadata, triggered = excluded.triggered, since_position = excluded.since_position,
    since = excluded.since, deleted_position = excluded.deleted_position, deleted_at = excluded.deleted_at
