-- Pairs of the metadata of entries, as they were written and as they stand, that are not among the pairs by which lists
-- find them: by the position of their transaction.
-- The LIMITs, which cut nothing off, keep the planner from hashing whole tables.
-- $1 ledger_id bigint, $2 position bigint, $3 entry_ids text[]
SELECT
    'entries' AS table_name, jsonb_build_object('entry_id', k.entry_id, 'written_at', r.written_at) AS row_key,
    format('the pair of %s in metadata_pairs', m.key) AS problem, left(m.value, 100) AS expected, NULL AS found
FROM unnest($3::text[]) AS k (entry_id)
CROSS JOIN LATERAL (
    SELECT transaction_id, metadata, written_at
    FROM entries
    WHERE ledger_id = $1::bigint AND entry_id = k.entry_id::bigint
    LIMIT 1
) AS r
LEFT JOIN LATERAL (
    SELECT metadata
    FROM entry_metadata
    WHERE ledger_id = $1::bigint AND entry_id = k.entry_id::bigint
    LIMIT 1
) AS edited ON true
CROSS JOIN LATERAL (
    SELECT created_position
    FROM transactions
    WHERE ledger_id = $1::bigint AND transaction_id = r.transaction_id
        AND num_nonnulls(r.metadata, edited.metadata) > 0
    LIMIT 1
) AS o
CROSS JOIN LATERAL (
    SELECT key, value FROM jsonb_each_text(r.metadata)
    UNION
    SELECT key, value FROM jsonb_each_text(edited.metadata)
) AS m
LEFT JOIN LATERAL (
    SELECT noun
    FROM metadata_pairs
    WHERE ledger_id = $1::bigint AND noun = 3 AND key = m.key AND value_head = left(m.value, 100)
        AND block_position = o.created_position / 256 * 256
        AND position(set_byte('\x00'::bytea, 0, (o.created_position % 256)::integer) IN offsets) > 0
    LIMIT 1
) AS p ON true
WHERE $2::bigint IS NOT NULL AND p.noun IS NULL
ORDER BY k.entry_id, m.key
