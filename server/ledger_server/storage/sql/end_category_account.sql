-- An account that left a category.
-- $1 ledger_id bigint, $2 category_id uuid, $3 account_id uuid, $4 until_position bigint
UPDATE category_accounts
SET until_position = $4::bigint
WHERE ledger_id = $1::bigint AND category_id = $2::uuid AND account_id = $3::uuid AND until_position IS NULL
