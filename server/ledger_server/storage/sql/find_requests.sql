-- What became of request ids; of those that wrote a version of a transaction also its status and position.
-- LIMIT 1, which a unique key makes true anyway, keeps the planner from a hash of the whole ledger.
-- $1 ledger_id bigint, $2 request_ids text[]
SELECT r.request_id, r.fingerprint, r.object_id, r.version, r.outcome, t.status, t.position
FROM (
    SELECT request_id, fingerprint, object_id, coalesce(version, 0) AS version, outcome
    FROM requests
    WHERE ledger_id = $1::bigint AND request_id = ANY ($2::text[])
) AS r
LEFT JOIN LATERAL (
    SELECT status, position
    FROM transactions
    WHERE ledger_id = $1::bigint AND transaction_id = r.object_id AND version = r.version
    UNION ALL
    SELECT status, position
    FROM transaction_versions
    WHERE ledger_id = $1::bigint AND transaction_id = r.object_id AND version = r.version
    LIMIT 1
) AS t ON true
