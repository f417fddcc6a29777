-- Some categories and all that were nested under them at a position.
-- $1 ledger_id uuid, $2 category_ids text[], $3 position bigint
WITH RECURSIVE below (category_id) AS (
    SELECT category_id
    FROM categories
    WHERE ledger_id = $1::uuid AND category_id = ANY ($2::text[]::uuid[])
        AND (deleted_position IS NULL OR deleted_position > $3::bigint)
    UNION
    SELECT n.member_category_id
    FROM below b
    JOIN category_nestings n ON n.ledger_id = $1::uuid AND n.category_id = b.category_id
        AND n.from_position <= $3::bigint AND (n.until_position IS NULL OR n.until_position > $3::bigint)
)
SELECT category_id FROM below ORDER BY category_id
