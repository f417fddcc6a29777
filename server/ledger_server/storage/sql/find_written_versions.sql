-- Which of these transactions have a version that was written at the position beside them, and what it is linked to.
-- LIMIT keeps the planner from answering with a hash of all transactions; a transaction has few versions.
-- $1 ledger_id bigint, $2 transaction_ids text[], $3 positions text[]
SELECT k.position::bigint AS position, written.reverses_id, written.partially_posts_id
FROM unnest($2::text[], $3::text[]) AS k (transaction_id, position)
CROSS JOIN LATERAL (
    SELECT t.reverses_id, t.partially_posts_id
    FROM transactions t
    WHERE t.ledger_id = $1::bigint AND t.transaction_id = k.transaction_id::uuid AND t.position = k.position::bigint
    UNION ALL
    SELECT v.reverses_id, v.partially_posts_id
    FROM transaction_versions v
    WHERE v.ledger_id = $1::bigint AND v.transaction_id = k.transaction_id::uuid AND v.position = k.position::bigint
    LIMIT 1
) AS written
