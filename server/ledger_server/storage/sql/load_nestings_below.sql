-- The nesting under some categories: each edge from these downwards, once.
-- $1 ledger_id uuid, $2 category_ids text[]
WITH RECURSIVE below (category_id, member_category_id) AS (
    SELECT category_id, member_category_id
    FROM category_nestings
    WHERE ledger_id = $1::uuid AND category_id = ANY ($2::text[]::uuid[]) AND until_position IS NULL
    UNION
    SELECT n.category_id, n.member_category_id
    FROM below b
    JOIN category_nestings n
        ON n.ledger_id = $1::uuid AND n.category_id = b.member_category_id AND n.until_position IS NULL
)
SELECT category_id, member_category_id FROM below
