-- Outcomes of request ids that are versions of transactions which are not there, or whose events name other requests.
-- The LIMITs, which cut nothing off, keep the planner from hashing whole tables.
-- $1 ledger_id bigint, $2 position bigint, $3 request_ids text[]
SELECT
    'requests' AS table_name, jsonb_build_object('request_id', k.request_id) AS row_key,
    t.problem, t.expected, t.found
FROM unnest($3::text[]) AS k (request_id)
CROSS JOIN LATERAL (
    SELECT object_id, coalesce(version, 0) AS version
    FROM requests
    WHERE ledger_id = $1::bigint AND request_id = k.request_id
    LIMIT 1
) AS r
LEFT JOIN LATERAL (
    SELECT version, position
    FROM transactions
    WHERE ledger_id = $1::bigint AND transaction_id = r.object_id AND version = r.version
    UNION ALL
    SELECT version, position
    FROM transaction_versions
    WHERE ledger_id = $1::bigint AND transaction_id = r.object_id AND version = r.version
    LIMIT 1
) AS w ON true
LEFT JOIN LATERAL (
    SELECT payload
    FROM events
    WHERE ledger_id = $1::bigint AND position = w.position
    LIMIT 1
) AS e ON true
CROSS JOIN LATERAL (
    VALUES
        (
            'the version that it wrote',
            format('version %s of transaction %s', r.version, r.object_id),
            CASE WHEN w.version IS NOT NULL THEN format('version %s of transaction %s', r.version, r.object_id) END
        ),
        (
            'the event that names it',
            w.position::text,
            CASE
                WHEN e.payload IS NULL
                    OR position(convert_to(k.request_id, 'UTF8') IN e.payload) > 0
                    THEN w.position::text
            END
        )
) AS t (problem, expected, found)
WHERE $2::bigint IS NOT NULL AND r.object_id IS NOT NULL AND t.expected IS DISTINCT FROM t.found
ORDER BY k.request_id
