-- The versions of some transactions that wrote entries, in ranges of versions, each with the entries that it wrote.
-- Version 0 did, and each whose entries are not those of the version before.
-- $1 ledger_id bigint, $2 transaction_ids text[], $3 first_versions text[], $4 last_versions text[]
SELECT transaction_id, version, first_entry_id, entry_count
FROM (
    SELECT
        s.n, s.transaction_id, s.first_version, v.version, v.first_entry_id, v.entry_count,
        lag(v.first_entry_id) OVER (PARTITION BY s.n ORDER BY v.version) AS first_entry_id_before
    FROM unnest($2::text[]::uuid[], $3::text[]::bigint[], $4::text[]::bigint[])
        WITH ORDINALITY AS s (transaction_id, first_version, last_version, n)
    CROSS JOIN LATERAL (
        SELECT version, first_entry_id, entry_count
        FROM transaction_versions
        WHERE ledger_id = $1::bigint AND transaction_id = s.transaction_id
            AND version BETWEEN s.first_version - 1 AND s.last_version
        UNION ALL
        SELECT version, first_entry_id, entry_count
        FROM transactions
        WHERE ledger_id = $1::bigint AND transaction_id = s.transaction_id
            AND version BETWEEN s.first_version - 1 AND s.last_version
    ) AS v
) AS versions
WHERE version >= first_version AND first_entry_id IS DISTINCT FROM first_entry_id_before
ORDER BY n, version
