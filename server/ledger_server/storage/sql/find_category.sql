-- The id of the category that has an external id and is not deleted.
-- $1 ledger_id bigint, $2 external_id text
SELECT category_id
FROM categories
WHERE ledger_id = $1::bigint AND external_id = $2::text AND deleted_position IS NULL
