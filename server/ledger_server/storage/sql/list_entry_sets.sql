-- The versions of some transactions from one version on, in either direction, at most so many of each: which entries
-- stand at it, and whether it wrote them itself. They come transaction by transaction, in order.
-- One of the first two branches is not run.
-- $1 ledger_id uuid, $2 transaction_ids text[], $3 first_version bigint, $4 descending boolean, $5 row_count bigint
SELECT
    s.transaction_id, v.version, v.first_entry_id, v.entry_count,
    p.first_entry_id IS DISTINCT FROM v.first_entry_id AS is_writer
FROM unnest($2::text[]::uuid[]) WITH ORDINALITY AS s (transaction_id, n)
CROSS JOIN LATERAL (
    SELECT *
    FROM (
        (
            SELECT version, first_entry_id, entry_count
            FROM transaction_versions
            WHERE NOT $4::boolean AND ledger_id = $1::uuid AND transaction_id = s.transaction_id
                AND version >= $3::bigint
            ORDER BY version
            LIMIT $5::bigint
        )
        UNION ALL
        (
            SELECT version, first_entry_id, entry_count
            FROM transaction_versions
            WHERE $4::boolean AND ledger_id = $1::uuid AND transaction_id = s.transaction_id
                AND version <= $3::bigint
            ORDER BY version DESC
            LIMIT $5::bigint
        )
        UNION ALL
        (
            SELECT version, first_entry_id, entry_count
            FROM transactions
            WHERE ledger_id = $1::uuid AND transaction_id = s.transaction_id
                AND CASE WHEN $4::boolean THEN version <= $3::bigint ELSE version >= $3::bigint END
            LIMIT 1
        )
    ) AS versions
    ORDER BY CASE WHEN $4::boolean THEN - version ELSE version END
    LIMIT $5::bigint
) AS v
LEFT JOIN LATERAL (
    SELECT first_entry_id
    FROM transaction_versions
    WHERE ledger_id = $1::uuid AND transaction_id = s.transaction_id AND version = v.version - 1
    LIMIT 1
) AS p ON true
ORDER BY s.n, CASE WHEN $4::boolean THEN - v.version ELSE v.version END
