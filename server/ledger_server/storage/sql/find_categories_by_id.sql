-- Created positions of categories by id.
-- $1 ledger_id bigint, $2 row_count bigint, $3 category_ids text[]
SELECT created_position
FROM categories
WHERE ledger_id = $1::bigint AND category_id = ANY ($3::text[]::uuid[])
LIMIT $2::bigint
