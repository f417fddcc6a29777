-- The ids of the accounts that are directly in some categories, in any order, some perhaps several times.
-- $1 ledger_id bigint, $2 row_count bigint, $3 category_ids text[]
SELECT account_id
FROM category_accounts
WHERE ledger_id = $1::bigint AND category_id = ANY ($3::text[]::uuid[]) AND until_position IS NULL
LIMIT $2::bigint
