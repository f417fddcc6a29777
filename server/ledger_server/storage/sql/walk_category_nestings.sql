-- The keys of rows that tell which categories were in which category, in order, for whoever verifies them.
-- $1 ledger_id bigint, $2 after_category_id uuid, $3 after_member_category_id uuid, $4 after_from_position bigint,
-- $5 row_count bigint
SELECT category_id, member_category_id, from_position
FROM category_nestings
WHERE ledger_id = $1::bigint AND (category_id, member_category_id, from_position) > ($2::uuid, $3::uuid, $4::bigint)
ORDER BY category_id, member_category_id, from_position
LIMIT $5::bigint
