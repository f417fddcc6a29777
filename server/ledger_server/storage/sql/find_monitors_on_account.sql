-- Created positions of the monitors on an account.
-- $1 ledger_id uuid, $2 row_count bigint, $3 account_id uuid
SELECT created_position
FROM monitors
WHERE ledger_id = $1::uuid AND account_id = $3::uuid AND deleted_at IS NULL
LIMIT $2::bigint
