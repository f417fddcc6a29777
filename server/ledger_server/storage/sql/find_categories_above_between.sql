-- The categories that some accounts came under and left, directly or through others, from one position to another:
-- counted up and down, as there may be several ways; where the range begins, all that they were under comes up.
-- The walk goes upwards, each way cut to when all of its memberships stood. So an account's memberships are read once,
-- however many positions are asked about.
-- The OFFSET 0, which leaves nothing out, makes the planner look for each by itself instead of each among all.
-- $1 ledger_id bigint, $2 account_ids text[], $3 first_position bigint, $4 last_position bigint
WITH RECURSIVE above (account_id, category_id, from_position, until_position) AS (
    SELECT k.account_id, m.category_id, m.from_position, m.until_position
    FROM unnest($2::text[]::uuid[]) AS k (account_id)
    CROSS JOIN LATERAL (
        SELECT
            m.category_id,
            greatest(m.from_position, $3::bigint) AS from_position,
            least(m.until_position, c.deleted_position, $4::bigint + 1) AS until_position
        FROM category_accounts m
        JOIN categories c ON c.ledger_id = $1::bigint AND c.category_id = m.category_id
            AND (c.deleted_position IS NULL OR c.deleted_position > $3::bigint)
        WHERE m.ledger_id = $1::bigint AND m.account_id = k.account_id AND m.from_position <= $4::bigint
            AND (m.until_position IS NULL OR m.until_position > $3::bigint)
        OFFSET 0
    ) AS m
    UNION
    SELECT a.account_id, n.category_id, n.from_position, n.until_position
    FROM above a
    CROSS JOIN LATERAL (
        SELECT
            category_id,
            greatest(from_position, a.from_position) AS from_position,
            least(until_position, a.until_position) AS until_position
        FROM category_nestings
        WHERE ledger_id = $1::bigint AND member_category_id = a.category_id AND from_position < a.until_position
            AND (until_position IS NULL OR until_position > a.from_position)
        OFFSET 0
    ) AS n
)
SELECT from_position AS position, account_id, category_id, 1 AS times FROM above
UNION ALL
SELECT until_position, account_id, category_id, -1 FROM above WHERE until_position <= $4::bigint
ORDER BY position
