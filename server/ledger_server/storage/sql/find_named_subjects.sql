-- Which of these accounts and categories there are, and when they were deleted.
-- $1 ledger_id bigint, $2 ids text[]
SELECT subject.id, subject.deleted_at
FROM unnest($2::text[]) AS k (id)
CROSS JOIN LATERAL (
    SELECT a.account_id AS id, a.deleted_at
    FROM accounts a
    WHERE a.ledger_id = $1::bigint AND a.account_id = k.id::uuid
    UNION ALL
    SELECT c.category_id, c.deleted_at
    FROM categories c
    WHERE c.ledger_id = $1::bigint AND c.category_id = k.id::uuid
    LIMIT 1
) AS subject
