-- Versions of categories that no event tells of: a balance at their position would be read from them. Both are written
-- by one commit, so every snapshot has both, and rows of any position are judged.
-- The LIMITs, which cut nothing off, keep the planner from hashing whole tables.
-- $1 ledger_id bigint, $2 position bigint, which does not matter, $3 category_ids text[], $4 positions text[]
WITH pruned AS (
    SELECT coalesce((SELECT position FROM log_checkpoints WHERE ledger_id = $1::bigint), 0) AS position
)
SELECT
    'category_versions' AS table_name,
    jsonb_build_object('category_id', k.category_id, 'position', k.position) AS row_key, t.problem, t.expected, t.found
FROM unnest($3::text[], $4::text[]) AS k (category_id, position)
CROSS JOIN pruned
LEFT JOIN LATERAL (
    SELECT created_position
    FROM categories
    WHERE ledger_id = $1::bigint AND category_id = k.category_id::uuid
    LIMIT 1
) AS c ON true
LEFT JOIN LATERAL (
    SELECT payload
    FROM events
    WHERE ledger_id = $1::bigint AND position = k.position::bigint
    LIMIT 1
) AS e ON true
CROSS JOIN LATERAL (
    VALUES
        (
            'position, from the creation of its category on',
            CASE WHEN c.created_position <= k.position::bigint THEN k.position
                ELSE c.created_position || ' or later' END,
            k.position
        ),
        (
            'its event',
            CASE WHEN k.position::bigint > pruned.position THEN k.position END,
            CASE
                -- Of what it changes, a transaction's event has the ids as bytes; others have them as text, that of a
                -- category behind '*$'. The creation itself changes nothing. See events/stored.py.
                WHEN position(uuid_send(k.category_id::uuid) IN e.payload) > 0
                    OR position(convert_to('*$' || k.category_id, 'UTF8') IN e.payload) > 0
                    OR e.payload IS NOT NULL AND c.created_position = k.position::bigint THEN k.position
                WHEN e.payload IS NOT NULL THEN 'an event that does not tell of it'
            END
        )
) AS t (problem, expected, found)
WHERE $2::bigint IS NOT NULL AND t.expected IS DISTINCT FROM t.found
ORDER BY k.category_id, k.position::bigint
