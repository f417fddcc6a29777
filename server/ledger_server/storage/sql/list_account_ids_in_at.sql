-- The ids of the accounts that were directly in a category at a position, a page after an id, each with the other
-- categories that it was directly in then. The LIMIT, which cuts off what nobody has, keeps the planner from hashing
-- all memberships that ever were: an account is in few.
-- $1 ledger_id uuid, $2 category_id uuid, $3 after_id uuid, $4 position bigint, $5 limit bigint
SELECT m.account_id, others.category_ids
FROM category_accounts m
CROSS JOIN LATERAL (
    SELECT array_agg(category_id) AS category_ids
    FROM (
        SELECT category_id
        FROM category_accounts
        WHERE ledger_id = $1::uuid AND account_id = m.account_id AND category_id <> $2::uuid
            AND from_position <= $4::bigint AND (until_position IS NULL OR until_position > $4::bigint)
        LIMIT 1000000
    ) AS each
) AS others
WHERE m.ledger_id = $1::uuid AND m.category_id = $2::uuid AND m.account_id > $3::uuid AND m.from_position <= $4::bigint
    AND (m.until_position IS NULL OR m.until_position > $4::bigint)
ORDER BY m.account_id
LIMIT $5::bigint
