-- The nesting under some categories: each edge from these downwards, once.
-- The arrays make the planner look for each by itself, instead of each among all, and expect a few.
-- $1 ledger_id bigint, $2 category_ids text[]
WITH RECURSIVE below (category_id, member_category_id) AS (
    SELECT k.category_id::uuid, n.member_category_id
    FROM unnest($2::text[]) AS k (category_id)
    CROSS JOIN LATERAL unnest(ARRAY(
        SELECT member_category_id
        FROM category_nestings
        WHERE ledger_id = $1::bigint AND category_id = k.category_id::uuid AND until_position IS NULL
    )) AS n (member_category_id)
    UNION
    SELECT b.member_category_id, n.member_category_id
    FROM below b
    CROSS JOIN LATERAL unnest(ARRAY(
        SELECT member_category_id
        FROM category_nestings
        WHERE ledger_id = $1::bigint AND category_id = b.member_category_id AND until_position IS NULL
    )) AS n (member_category_id)
)
SELECT category_id, member_category_id FROM below
