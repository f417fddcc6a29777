-- The ids of the categories that a category is directly in.
-- $1 ledger_id bigint, $2 member_category_id uuid
SELECT category_id
FROM category_nestings
WHERE ledger_id = $1::bigint AND member_category_id = $2::uuid AND until_position IS NULL
