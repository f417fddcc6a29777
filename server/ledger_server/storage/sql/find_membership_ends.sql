-- Which of these accounts and categories came into a category at the position beside them, or left it.
-- $1 ledger_id bigint, $2 category_ids text[], $3 member_ids text[], $4 positions text[]
SELECT k.category_id, k.position::bigint AS position, m.from_position = k.position::bigint AS joined
FROM unnest($2::text[], $3::text[], $4::text[]) AS k (category_id, member_id, position)
CROSS JOIN LATERAL (
    SELECT a.from_position
    FROM category_accounts a
    WHERE a.ledger_id = $1::bigint AND a.category_id = k.category_id::uuid AND a.account_id = k.member_id::uuid
        AND k.position::bigint IN (a.from_position, a.until_position)
    UNION ALL
    SELECT n.from_position
    FROM category_nestings n
    WHERE n.ledger_id = $1::bigint AND n.category_id = k.category_id::uuid AND n.member_category_id = k.member_id::uuid
        AND k.position::bigint IN (n.from_position, n.until_position)
    LIMIT 1
) AS m
