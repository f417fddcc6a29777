-- Which categories some accounts and categories are in: each edge from these upwards, once. A category that is named
-- comes with an edge from nothing. Deleted ones are not there.
-- The OFFSET 0, which leaves nothing out, makes the planner look for each by itself instead of each among all.
-- $1 ledger_id bigint, $2 account_ids text[], $3 category_ids text[], $4 external_ids of categories text[]
WITH RECURSIVE above (member_id, category_id) AS (
    (
        SELECT m.account_id, m.category_id
        FROM category_accounts m
        JOIN categories c ON c.ledger_id = $1::bigint AND c.category_id = m.category_id AND c.deleted_position IS NULL
        WHERE m.ledger_id = $1::bigint AND m.account_id = ANY ($2::text[]::uuid[]) AND m.until_position IS NULL
        UNION ALL
        SELECT NULL::uuid, category_id
        FROM categories
        WHERE ledger_id = $1::bigint AND category_id = ANY ($3::text[]::uuid[]) AND deleted_position IS NULL
        UNION ALL
        SELECT NULL::uuid, category_id
        FROM categories
        WHERE ledger_id = $1::bigint AND external_id = ANY ($4::text[]) AND deleted_position IS NULL
    )
    UNION
    SELECT n.member_category_id, n.category_id
    FROM above a
    CROSS JOIN LATERAL (
        SELECT member_category_id, category_id
        FROM category_nestings
        WHERE ledger_id = $1::bigint AND member_category_id = a.category_id AND until_position IS NULL
        OFFSET 0
    ) AS n
)
SELECT member_id, category_id FROM above
