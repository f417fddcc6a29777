-- The events of transactions whose metadata held these pairs as the event left it, which a version keeps for ever.
-- LIMIT keeps the planner from answering with a hash of all transactions; a transaction has few versions.
-- $1 ledger_id uuid, $2 transaction_ids text[], $3 positions bigint[], $4 metadata jsonb
SELECT e.position
FROM unnest($2::text[], $3::bigint[]) AS e (transaction_id, position)
CROSS JOIN LATERAL (
    SELECT t.metadata
    FROM transactions t
    WHERE t.ledger_id = $1::uuid AND t.transaction_id = e.transaction_id::uuid AND t.position = e.position
    UNION ALL
    SELECT v.metadata
    FROM transaction_versions v
    WHERE v.ledger_id = $1::uuid AND v.transaction_id = e.transaction_id::uuid AND v.position = e.position
    LIMIT 1
) AS written
WHERE written.metadata @> $4::jsonb
