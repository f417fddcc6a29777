-- Created positions of accounts in some statuses, in any order.
-- $1 ledger_id bigint, $2 row_count bigint, $3 statuses text[]
SELECT created_position
FROM accounts
WHERE ledger_id = $1::bigint AND status = ANY ($3::text[]::smallint[])
LIMIT $2::bigint
