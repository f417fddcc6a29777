-- Those of some monitors that live and pass the filters, in created order, after one of them.
-- They come from whichever index finds them; everything asked for is looked at here, in the rows themselves.
-- $1 ledger_id bigint, $2 created_positions text, an array literal, $3 after_position bigint, $4 row_count bigint; then
-- filters, of which null passes all: $5 monitor_ids text[], $6 account_id uuid, $7 category_id uuid, $8 triggered
-- boolean, $9 metadata jsonb, $10 metadata_path text, $11 metadata_variables jsonb
SELECT
    m.ledger_id, m.monitor_id, m.account_id, m.category_id, m.created_position, m.created_at, m.updated_at, m.version,
    m.field, m.operator, m.value, m.resolve_value, m.description, m.metadata, m.triggered, m.since_position, m.since,
    m.deleted_at
FROM unnest($2::text::bigint[]) AS c (created_position)
CROSS JOIN LATERAL (
    SELECT *
    FROM monitors
    WHERE ledger_id = $1::bigint AND created_position = c.created_position AND created_position > $3::bigint
        AND deleted_at IS NULL
        AND ($5::text[] IS NULL OR monitor_id IN (SELECT unnest($5::text[]::uuid[])))
        AND ($6::uuid IS NULL OR account_id = $6::uuid)
        AND ($7::uuid IS NULL OR category_id = $7::uuid)
        AND ($8::boolean IS NULL OR triggered = $8::boolean)
        AND ($9::jsonb IS NULL OR metadata @> $9::jsonb)
        AND ($10::text IS NULL OR jsonb_path_match(metadata, $10::text::jsonpath, $11::jsonb))
    LIMIT 1
) AS m
ORDER BY m.created_position
LIMIT $4::bigint
