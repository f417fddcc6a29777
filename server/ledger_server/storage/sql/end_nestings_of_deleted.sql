-- Ends all nesting of a category that was deleted: of what is in it, and its own.
-- $1 ledger_id bigint, $2 category_id uuid, $3 until_position bigint
WITH below AS (
    UPDATE category_nestings
    SET until_position = $3::bigint
    WHERE ledger_id = $1::bigint AND category_id = $2::uuid AND until_position IS NULL
)
UPDATE category_nestings
SET until_position = $3::bigint
WHERE ledger_id = $1::bigint AND member_category_id = $2::uuid AND until_position IS NULL
