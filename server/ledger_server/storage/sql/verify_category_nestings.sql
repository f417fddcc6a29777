-- Categories in categories into which no event brought them, or out of which none took them. As of accounts; see
-- verify_category_accounts.sql. The id of the category that joined or left stands behind 'b$'. The deletion of either
-- ends it.
-- The LIMITs, which cut nothing off, keep the planner from hashing whole tables.
-- $1 ledger_id bigint, $2 position bigint, which does not matter, $3 category_ids text[],
-- $4 member_category_ids text[], $5 from_positions text[]
WITH pruned AS (
    SELECT coalesce((SELECT position FROM log_checkpoints WHERE ledger_id = $1::bigint), 0) AS position
)
SELECT
    'category_nestings' AS table_name,
    jsonb_build_object(
        'category_id', k.category_id, 'member_category_id', k.member_category_id, 'from_position', k.from_position
    ) AS row_key,
    t.problem, t.expected, t.found
FROM unnest($3::text[], $4::text[], $5::text[]) AS k (category_id, member_category_id, from_position)
CROSS JOIN pruned
CROSS JOIN LATERAL (
    SELECT from_position, until_position
    FROM category_nestings
    WHERE ledger_id = $1::bigint AND category_id = k.category_id::uuid
        AND member_category_id = k.member_category_id::uuid AND from_position = k.from_position::bigint
    LIMIT 1
) AS m
LEFT JOIN LATERAL (
    SELECT payload, substring(payload FROM 1 FOR 3) AS head
    FROM events
    WHERE ledger_id = $1::bigint AND position = m.from_position
    LIMIT 1
) AS came ON true
LEFT JOIN LATERAL (
    SELECT payload, substring(payload FROM 1 FOR 3) AS head
    FROM events
    WHERE ledger_id = $1::bigint AND position = m.until_position
    LIMIT 1
) AS went ON true
CROSS JOIN LATERAL (
    SELECT
        convert_to('R$' || k.category_id, 'UTF8') AS category,
        convert_to('R$' || k.member_category_id, 'UTF8') AS member,
        convert_to('r$' || k.category_id, 'UTF8') AS parent,
        convert_to('R$' || k.category_id || 'b$' || k.member_category_id, 'UTF8') AS both_ids
) AS b
CROSS JOIN LATERAL (
    VALUES
        (
            'the event by which it came',
            CASE WHEN m.from_position > pruned.position THEN m.from_position::text END,
            CASE
                WHEN came.head = '\x002017' AND position(b.both_ids IN came.payload) > 0
                    OR came.head = '\x002014'
                    AND position(b.member IN came.payload) > 0 AND position(b.parent IN came.payload) > 0
                    THEN m.from_position::text
                WHEN came.payload IS NOT NULL THEN 'an event that does not tell of it'
            END
        ),
        (
            'the event by which it left',
            CASE WHEN m.until_position > pruned.position THEN m.until_position::text END,
            CASE
                WHEN went.head = '\x002018' AND position(b.both_ids IN went.payload) > 0
                    OR went.head = '\x002016'
                    AND (position(b.category IN went.payload) > 0 OR position(b.member IN went.payload) > 0)
                    THEN m.until_position::text
                WHEN went.payload IS NOT NULL THEN 'an event that does not tell of it'
            END
        )
) AS t (problem, expected, found)
WHERE $2::bigint IS NOT NULL AND t.expected IS DISTINCT FROM t.found
ORDER BY k.category_id, k.member_category_id, k.from_position::bigint
