-- Some categories and all that were nested under them at a position.
-- The arrays make the planner look for each by itself, instead of each among all, and expect a few.
-- $1 ledger_id bigint, $2 category_ids text[], $3 position bigint
WITH RECURSIVE below (category_id) AS (
    SELECT category_id
    FROM categories
    WHERE ledger_id = $1::bigint AND category_id = ANY ($2::text[]::uuid[])
        AND (deleted_position IS NULL OR deleted_position > $3::bigint)
    UNION
    SELECT n.category_id
    FROM below b
    CROSS JOIN LATERAL unnest(ARRAY(
        SELECT member_category_id
        FROM category_nestings
        WHERE ledger_id = $1::bigint AND category_id = b.category_id AND from_position <= $3::bigint
            AND (until_position IS NULL OR until_position > $3::bigint)
    )) AS n (category_id)
)
SELECT category_id FROM below ORDER BY category_id
