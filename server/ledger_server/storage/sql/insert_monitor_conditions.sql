-- New conditions of monitors.
-- $1 ledger_id bigint; then columns as array literals, text: $2 monitor_ids, $3 positions, $4 fields, $5 operators,
-- $6 values, $7 resolve_values; $8 now timestamptz
INSERT INTO monitor_conditions (ledger_id, monitor_id, position, changed_at, field, operator, value, resolve_value)
SELECT $1::bigint, r.monitor_id, r.position, $8::timestamptz, r.field, r.operator, r.value, r.resolve_value
FROM unnest(
    $2::text::uuid[], $3::text::bigint[], $4::text::smallint[], $5::text::smallint[], $6::text::numeric[],
    $7::text::numeric[]
) AS r (monitor_id, position, field, operator, value, resolve_value)
