-- Created positions of accounts by id.
-- $1 ledger_id uuid, $2 row_count bigint, $3 account_ids text[]
SELECT created_position
FROM accounts
WHERE ledger_id = $1::uuid AND account_id = ANY ($3::text[]::uuid[])
LIMIT $2::bigint
