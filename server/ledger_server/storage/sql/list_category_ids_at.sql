-- The ids of the categories that were there at a position, a page after an id.
-- $1 ledger_id bigint, $2 after_id uuid, $3 position bigint, $4 limit bigint
SELECT category_id
FROM categories
WHERE ledger_id = $1::bigint AND category_id > $2::uuid AND created_position <= $3::bigint
    AND (deleted_position IS NULL OR deleted_position > $3::bigint)
ORDER BY category_id
LIMIT $4::bigint
