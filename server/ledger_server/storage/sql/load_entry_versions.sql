-- The transaction versions that wrote some entry sets.
-- $1 ledger_id uuid, $2 transaction_ids text[], $3 versions text[]
SELECT t.transaction_id, t.version, t.status, t.effective_at, t.updated_at
FROM unnest($2::text[], $3::text[]) AS s (transaction_id, version)
JOIN transactions t
    ON t.ledger_id = $1::uuid AND t.transaction_id = s.transaction_id::uuid AND t.version = s.version::bigint
UNION ALL
SELECT t.transaction_id, t.version, t.status, t.effective_at, t.updated_at
FROM unnest($2::text[], $3::text[]) AS s (transaction_id, version)
JOIN transaction_versions t
    ON t.ledger_id = $1::uuid AND t.transaction_id = s.transaction_id::uuid AND t.version = s.version::bigint
