-- The keys of categories, in order, for whoever verifies them.
-- $1 ledger_id bigint, $2 after_category_id uuid, $3 row_count bigint
SELECT category_id
FROM categories
WHERE ledger_id = $1::bigint AND category_id > $2::uuid
ORDER BY category_id
LIMIT $3::bigint
