-- Pairs that are in no metadata of the object they stand for. Those of entries stay when they are edited, so there is
-- nothing to hold them against.
-- The LIMITs, which cut nothing off, keep the planner from hashing whole tables.
-- $1 ledger_id bigint, $2 position bigint, $3 nouns text[], $4 keys text[], $5 value_heads text[],
-- $6 block_positions text[]
SELECT
    'metadata_pairs' AS table_name,
    jsonb_build_object('noun', k.noun, 'key', k.key, 'value_head', k.value_head, 'created_position', c.position::text)
        AS row_key,
    'the metadata that it is of' AS problem, k.value_head AS expected, left(o.metadata ->> k.key, 100) AS found
FROM unnest($3::text[], $4::text[], $5::text[], $6::text[]) AS k (noun, key, value_head, block_position)
CROSS JOIN LATERAL (
    SELECT block_position + get_byte(offsets, n) AS position
    FROM metadata_pairs
    CROSS JOIN LATERAL generate_series(0, octet_length(offsets) - 1) AS n
    WHERE ledger_id = $1::bigint AND noun = k.noun::smallint AND key = k.key AND value_head = k.value_head
        AND block_position = k.block_position::bigint
    LIMIT 256
) AS c
LEFT JOIN LATERAL (
    SELECT *
    FROM (
        SELECT metadata
        FROM transactions
        WHERE k.noun = '1' AND ledger_id = $1::bigint AND created_position = c.position
        UNION ALL
        SELECT metadata
        FROM accounts
        WHERE k.noun = '2' AND ledger_id = $1::bigint AND created_position = c.position
    ) AS either
    LIMIT 1
) AS o ON true
WHERE $2::bigint IS NOT NULL AND k.noun <> '3' AND left(o.metadata ->> k.key, 100) IS DISTINCT FROM k.value_head
ORDER BY k.noun, k.key, k.value_head, c.position
