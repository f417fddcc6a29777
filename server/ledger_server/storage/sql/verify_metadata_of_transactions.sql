-- Pairs of the metadata of transactions that are not among the pairs by which lists find them.
-- The LIMITs, which cut nothing off, keep the planner from hashing whole tables.
-- $1 ledger_id bigint, $2 position bigint, $3 transaction_ids text[], $4 versions text[], which do not matter
SELECT
    'transactions' AS table_name, jsonb_build_object('transaction_id', k.transaction_id) AS row_key,
    format('the pair of %s in metadata_pairs', m.key) AS problem, left(m.value, 100) AS expected, NULL AS found
FROM unnest($3::text[]) AS k (transaction_id)
CROSS JOIN LATERAL (
    SELECT metadata, created_position
    FROM transactions
    WHERE ledger_id = $1::bigint AND transaction_id = k.transaction_id::uuid
    LIMIT 1
) AS o
CROSS JOIN LATERAL jsonb_each_text(o.metadata) AS m
LEFT JOIN LATERAL (
    SELECT noun
    FROM metadata_pairs
    WHERE ledger_id = $1::bigint AND noun = 1 AND key = m.key AND value_head = left(m.value, 100)
        AND block_position = o.created_position / 256 * 256
        AND position(set_byte('\x00'::bytea, 0, (o.created_position % 256)::integer) IN offsets) > 0
    LIMIT 1
) AS p ON true
WHERE $2::bigint IS NOT NULL AND $4::text[] IS NOT NULL AND p.noun IS NULL
ORDER BY k.transaction_id, m.key
