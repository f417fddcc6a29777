-- Categories that joined categories, and left again if so.
-- $1 ledger_id bigint, then text[], one element a membership: $2 category_ids, $3 member_category_ids,
-- $4 from_positions, $5 until_positions
INSERT INTO category_nestings (ledger_id, category_id, member_category_id, from_position, until_position)
SELECT $1::bigint, r.category_id::uuid, r.member_category_id::uuid, r.from_position::bigint, r.until_position::bigint
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[])
    AS r (category_id, member_category_id, from_position, until_position)
