-- The ids of the categories that are directly in a category.
-- $1 ledger_id bigint, $2 category_id uuid
SELECT member_category_id AS category_id
FROM category_nestings
WHERE ledger_id = $1::bigint AND category_id = $2::uuid AND until_position IS NULL
