-- The categories that some accounts were under at some positions, directly or through others.
-- The walk goes upwards, by the memberships that stood at each position.
-- The OFFSET 0, which leaves nothing out, makes the planner look for each by itself instead of each among all.
-- $1 ledger_id uuid, then text[], one element a question: $2 account_ids, $3 positions
WITH RECURSIVE above (account_id, position, category_id) AS (
    SELECT k.account_id, k.position::bigint, m.category_id
    FROM unnest($2::text[], $3::text[]) AS k (account_id, position)
    CROSS JOIN LATERAL (
        SELECT m.category_id
        FROM category_accounts m
        JOIN categories c ON c.ledger_id = $1::uuid AND c.category_id = m.category_id
            AND (c.deleted_position IS NULL OR c.deleted_position > k.position::bigint)
        WHERE m.ledger_id = $1::uuid AND m.account_id = k.account_id::uuid AND m.from_position <= k.position::bigint
            AND (m.until_position IS NULL OR m.until_position > k.position::bigint)
        OFFSET 0
    ) AS m
    UNION
    SELECT a.account_id, a.position, n.category_id
    FROM above a
    CROSS JOIN LATERAL (
        SELECT category_id
        FROM category_nestings
        WHERE ledger_id = $1::uuid AND member_category_id = a.category_id AND from_position <= a.position
            AND (until_position IS NULL OR until_position > a.position)
        OFFSET 0
    ) AS n
)
SELECT account_id, position, category_id FROM above
