-- What is wrong with entries up to a position: by the version of their transaction that wrote them, by the version of
-- their account that counts them, and by the entries that they reverse.
-- The LIMITs, which cut nothing off, keep the planner from hashing whole tables.
-- $1 ledger_id bigint, $2 position bigint, $3 entry_ids text[]
SELECT
    'entries' AS table_name, jsonb_build_object('entry_id', k.entry_id, 'written_at', r.written_at) AS row_key,
    t.problem, t.expected, t.found
FROM unnest($3::text[]) AS k (entry_id)
CROSS JOIN LATERAL (
    SELECT *
    FROM entries
    WHERE ledger_id = $1::bigint AND entry_id = k.entry_id::bigint
    LIMIT 1
) AS r
LEFT JOIN LATERAL (
    SELECT *
    FROM (
        SELECT transaction_id, status, first_entry_id, position, reverses_id, updated_at
        FROM transactions
        WHERE ledger_id = $1::bigint AND transaction_id = r.transaction_id AND version = r.transaction_version
        UNION ALL
        SELECT transaction_id, status, first_entry_id, position, reverses_id, updated_at
        FROM transaction_versions
        WHERE ledger_id = $1::bigint AND transaction_id = r.transaction_id AND version = r.transaction_version
    ) AS either
    LIMIT 1
) AS w ON true
LEFT JOIN LATERAL (
    SELECT position
    FROM account_versions
    WHERE ledger_id = $1::bigint AND account_id = r.account_id AND lock_version = r.account_lock_version
    LIMIT 1
) AS v ON true
-- Archived by a failed condition an entry moved nothing: it shows its account as it stood.
LEFT JOIN LATERAL (
    SELECT position
    FROM account_versions
    WHERE ledger_id = $1::bigint AND account_id = r.account_id AND lock_version = r.account_lock_version + 1
    LIMIT 1
) AS v2 ON r.status = 3
LEFT JOIN LATERAL (
    SELECT account_id, direction, transaction_id, status, written_at
    FROM entries
    WHERE ledger_id = $1::bigint AND entry_id = r.reverses_entry_id
    LIMIT 1
) AS original ON true
LEFT JOIN LATERAL (
    SELECT amount
    FROM entry_reversals
    WHERE ledger_id = $1::bigint AND entry_id = r.reverses_entry_id
    LIMIT 1
) AS counted ON true
CROSS JOIN LATERAL (
    VALUES
        (
            'the version of a transaction that wrote it',
            format('version %s of transaction %s', r.transaction_version, r.transaction_id),
            CASE
                WHEN r.entry_id >> 12 << 12 = w.first_entry_id
                    THEN format('version %s of transaction %s', r.transaction_version, r.transaction_id)
            END
        ),
        (
            'status',
            coalesce(w.status, r.status)::text,
            r.status::text
        ),
        (
            'written_at, of the version that wrote it',
            coalesce(w.updated_at, r.written_at)::text,
            r.written_at::text
        ),
        (
            'the position of its account_lock_version',
            coalesce(w.position, v.position)::text,
            CASE
                WHEN w.status = 3 AND v.position <= w.position AND (v2.position IS NULL OR v2.position > w.position)
                    THEN w.position
                ELSE v.position
            END::text
        ),
        (
            'the entry that it reverses',
            CASE
                WHEN r.reverses_entry_id IS NOT NULL OR w.reverses_id IS NOT NULL
                    THEN format('on account %s, the other side, of %s', r.account_id, w.reverses_id)
            END,
            CASE
                WHEN r.reverses_entry_id IS NULL THEN NULL
                WHEN original.account_id = r.account_id AND original.direction = 3 - r.direction
                    AND original.transaction_id = w.reverses_id AND original.status = 2
                    AND date_trunc('milliseconds', original.written_at) = r.reverses_entry_time
                    THEN format('on account %s, the other side, of %s', r.account_id, w.reverses_id)
                ELSE 'another'
            END
        ),
        (
            'what is counted as reversed',
            CASE WHEN r.reverses_entry_id IS NOT NULL AND r.amount > 0 AND r.status <> 3 THEN 'counted' END,
            CASE
                WHEN r.reverses_entry_id IS NOT NULL AND r.amount > 0 AND r.status <> 3 AND counted.amount IS NOT NULL
                    THEN 'counted'
            END
        )
) AS t (problem, expected, found)
WHERE coalesce(w.position, 0) <= $2::bigint AND t.expected IS DISTINCT FROM t.found
ORDER BY k.entry_id
