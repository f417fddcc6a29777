-- Pairs that are in no metadata of the object they stand for.
-- The LIMITs, which cut nothing off, keep the planner from hashing whole tables.
-- $1 ledger_id uuid, $2 position bigint, $3 nouns text[], $4 keys text[], $5 value_heads text[],
-- $6 created_positions text[]
SELECT
    'metadata_pairs' AS table_name,
    jsonb_build_object('noun', k.noun, 'key', k.key, 'value_head', k.value_head, 'created_position', k.created_position)
        AS row_key,
    'the metadata that it is of' AS problem, k.value_head AS expected, left(o.metadata ->> k.key, 100) AS found
FROM unnest($3::text[], $4::text[], $5::text[], $6::text[]) AS k (noun, key, value_head, created_position)
LEFT JOIN LATERAL (
    SELECT *
    FROM (
        SELECT metadata
        FROM transactions
        WHERE k.noun = '1' AND ledger_id = $1::uuid AND created_position = k.created_position::bigint
        UNION ALL
        SELECT metadata
        FROM accounts
        WHERE k.noun = '2' AND ledger_id = $1::uuid AND created_position = k.created_position::bigint
    ) AS either
    LIMIT 1
) AS o ON true
WHERE $2::bigint IS NOT NULL AND left(o.metadata ->> k.key, 100) IS DISTINCT FROM k.value_head
ORDER BY k.noun, k.key, k.value_head, k.created_position
