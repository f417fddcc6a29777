-- Created positions of accounts in some statuses, in any order.
-- $1 ledger_id uuid, $2 row_count bigint, $3 statuses text[]
SELECT created_position
FROM accounts
WHERE ledger_id = $1::uuid AND status = ANY ($3::text[]::smallint[])
LIMIT $2::bigint
