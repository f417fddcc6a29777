-- Created positions of accounts by id.
-- $1 ledger_id bigint, $2 row_count bigint, $3 account_ids text[]
SELECT created_position
FROM accounts
WHERE ledger_id = $1::bigint AND account_id = ANY ($3::text[]::uuid[])
LIMIT $2::bigint
