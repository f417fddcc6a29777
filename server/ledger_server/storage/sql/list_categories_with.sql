-- The ids of the categories that a category is directly in.
-- $1 ledger_id uuid, $2 member_category_id uuid
SELECT category_id
FROM category_nestings
WHERE ledger_id = $1::uuid AND member_category_id = $2::uuid AND until_position IS NULL
