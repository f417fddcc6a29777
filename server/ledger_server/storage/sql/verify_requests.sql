-- Outcomes of request ids that are versions of transactions which are not there.
-- The LIMITs, which cut nothing off, keep the planner from hashing whole tables.
-- $1 ledger_id uuid, $2 position bigint, $3 request_ids text[]
SELECT
    'requests' AS table_name, jsonb_build_object('request_id', k.request_id) AS row_key,
    'the version that it wrote' AS problem,
    format('version %s of transaction %s', r.version, r.object_id) AS expected, NULL AS found
FROM unnest($3::text[]) AS k (request_id)
CROSS JOIN LATERAL (
    SELECT object_id, version
    FROM requests
    WHERE ledger_id = $1::uuid AND request_id = k.request_id
    LIMIT 1
) AS r
LEFT JOIN LATERAL (
    SELECT version
    FROM transactions
    WHERE ledger_id = $1::uuid AND transaction_id = r.object_id AND version = r.version
    UNION ALL
    SELECT version
    FROM transaction_versions
    WHERE ledger_id = $1::uuid AND transaction_id = r.object_id AND version = r.version
    LIMIT 1
) AS w ON true
WHERE $2::bigint IS NOT NULL AND r.object_id IS NOT NULL AND w.version IS NULL
ORDER BY k.request_id
