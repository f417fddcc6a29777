-- Created positions of the accounts that are directly in some categories, of some perhaps several times.
-- The LIMIT 1, which cuts nothing off, tells the planner how few rows there are.
-- $1 ledger_id bigint, $2 row_count bigint, $3 category_ids text[]
SELECT a.created_position
FROM category_accounts m
CROSS JOIN LATERAL (
    SELECT created_position
    FROM accounts
    WHERE ledger_id = $1::bigint AND account_id = m.account_id
    LIMIT 1
) AS a
WHERE m.ledger_id = $1::bigint AND m.category_id = ANY ($3::text[]::uuid[]) AND m.until_position IS NULL
LIMIT $2::bigint
