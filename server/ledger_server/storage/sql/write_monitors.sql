-- Monitors that are new, changed, triggered, resolved or deleted, as a batch left them, and how many there are.
-- $1 ledger_id uuid; then columns as array literals, text:
--   $2 monitor_ids, $3 account_ids, $4 created_positions, $5 created_ats, $6 updated_ats, $7 versions, $8 fields,
--   $9 operators, $10 values, $11 resolve_values, $12 descriptions, $13 metadatas, $14 triggereds, $15 since_positions,
--   $16 sinces, $17 deleted_positions, $18 deleted_ats
-- $19 by how many the ledger has more bigint
WITH counted AS (
    UPDATE ledgers SET monitor_count = monitor_count + $19::bigint
    WHERE ledger_id = $1::uuid AND $19::bigint <> 0
)
INSERT INTO monitors (
    ledger_id, monitor_id, account_id, created_position, created_at, updated_at, version, field, operator, value,
    resolve_value, description, metadata, triggered, since_position, since, deleted_position, deleted_at
)
SELECT
    $1::uuid, r.monitor_id, r.account_id, r.created_position, r.created_at, r.updated_at, r.version, r.field, r.operator,
    r.value, r.resolve_value, r.description, r.metadata, r.triggered, r.since_position, r.since, r.deleted_position,
    r.deleted_at
FROM unnest(
    $2::text::uuid[], $3::text::uuid[], $4::text::bigint[], $5::text::timestamptz[], $6::text::timestamptz[],
    $7::text::bigint[], $8::text::smallint[], $9::text::smallint[], $10::text::numeric[], $11::text::numeric[],
    $12::text::text[], $13::text::jsonb[], $14::text::boolean[], $15::text::bigint[], $16::text::timestamptz[],
    $17::text::bigint[], $18::text::timestamptz[]
) AS r (
    monitor_id, account_id, created_position, created_at, updated_at, version, field, operator, value, resolve_value,
    description, metadata, triggered, since_position, since, deleted_position, deleted_at
)
ON CONFLICT (ledger_id, monitor_id) DO UPDATE
SET updated_at = excluded.updated_at, version = excluded.version, field = excluded.field, operator = excluded.operator,
    value = excluded.value, resolve_value = excluded.resolve_value, description = excluded.description,
    metadata = excluded.metadata, triggered = excluded.triggered, since_position = excluded.since_position,
    since = excluded.since, deleted_position = excluded.deleted_position, deleted_at = excluded.deleted_at
