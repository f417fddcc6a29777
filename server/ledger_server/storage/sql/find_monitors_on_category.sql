-- Created positions of the monitors on a category.
-- $1 ledger_id bigint, $2 row_count bigint, $3 category_id uuid
SELECT created_position
FROM monitors
WHERE ledger_id = $1::bigint AND category_id = $3::uuid AND deleted_at IS NULL
LIMIT $2::bigint
