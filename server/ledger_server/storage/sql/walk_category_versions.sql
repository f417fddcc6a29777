-- The keys of versions of categories, in order, for whoever verifies them.
-- $1 ledger_id bigint, $2 after_category_id uuid, $3 after_position bigint, $4 row_count bigint
SELECT category_id, position
FROM category_versions
WHERE ledger_id = $1::bigint AND (category_id, position) > ($2::uuid, $3::bigint)
ORDER BY category_id, position
LIMIT $4::bigint
