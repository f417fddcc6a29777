-- Ends all nesting of categories that were deleted.
-- $1 ledger_id uuid, then text[], one element a category: $2 category_ids, $3 until_positions
UPDATE category_nestings AS n
SET until_position = r.until_position::bigint
FROM unnest($2::text[], $3::text[]) AS r (category_id, until_position)
WHERE n.ledger_id = $1::uuid AND r.category_id::uuid IN (n.category_id, n.member_category_id)
    AND (n.category_id = ANY ($2::text[]::uuid[]) OR n.member_category_id = ANY ($2::text[]::uuid[]))
    AND n.until_position IS NULL
