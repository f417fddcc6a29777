-- What is wrong with the counts of what is reversed of entries: by what stands of the entries that reverse them, now.
-- The LIMITs, which cut nothing off, keep the planner from hashing whole tables.
-- $1 ledger_id bigint, $2 position bigint, $3 entry_ids text[]
SELECT
    'entry_reversals' AS table_name, jsonb_build_object('entry_id', k.entry_id, 'written_at', r.written_at) AS row_key,
    t.problem, t.expected, t.found
FROM unnest($3::text[]) AS k (entry_id)
CROSS JOIN LATERAL (
    SELECT *
    FROM entry_reversals
    WHERE ledger_id = $1::bigint AND entry_id = k.entry_id::bigint
    LIMIT 1
) AS c
LEFT JOIN LATERAL (
    SELECT transaction_id, amount, written_at
    FROM entries
    WHERE ledger_id = $1::bigint AND entry_id = c.entry_id
    LIMIT 1
) AS r ON true
LEFT JOIN LATERAL (
    SELECT coalesce(sum(x.amount), 0) AS reversed
    FROM transactions w
    CROSS JOIN LATERAL (
        SELECT amount
        FROM entries
        WHERE ledger_id = $1::bigint
            AND entry_id BETWEEN w.first_entry_id AND w.first_entry_id + 4095
            AND reverses_entry_id = c.entry_id
        LIMIT 4096
    ) AS x
    WHERE w.ledger_id = $1::bigint AND w.reverses_id = r.transaction_id AND w.status <> 3
) AS s ON true
CROSS JOIN LATERAL (
    VALUES
        ('amount, the entry''s', r.amount::text, c.amount::text),
        ('reversed', s.reversed::text, c.reversed::text)
) AS t (problem, expected, found)
WHERE $2::bigint IS NOT NULL AND t.expected IS DISTINCT FROM t.found
ORDER BY k.entry_id
