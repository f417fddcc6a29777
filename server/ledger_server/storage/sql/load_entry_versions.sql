-- The transaction versions that wrote some entry sets.
-- LIMIT 1, which a unique key makes true anyway, keeps the planner from a hash of the whole ledger.
-- $1 ledger_id bigint, $2 transaction_ids text[], $3 versions text[]
SELECT t.transaction_id, t.version, t.status, t.effective_at, t.updated_at
FROM unnest($2::text[], $3::text[]) AS s (transaction_id, version)
CROSS JOIN LATERAL (
    SELECT transaction_id, version, status, effective_at, updated_at
    FROM transactions
    WHERE ledger_id = $1::bigint AND transaction_id = s.transaction_id::uuid AND version = s.version::bigint
    LIMIT 1
) AS t
UNION ALL
SELECT t.transaction_id, t.version, t.status, t.effective_at, t.updated_at
FROM unnest($2::text[], $3::text[]) AS s (transaction_id, version)
CROSS JOIN LATERAL (
    SELECT transaction_id, version, status, effective_at, updated_at
    FROM transaction_versions
    WHERE ledger_id = $1::bigint AND transaction_id = s.transaction_id::uuid AND version = s.version::bigint
    LIMIT 1
) AS t
