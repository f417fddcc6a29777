-- The created position of the account with an external id.
-- $1 ledger_id bigint, $2 row_count bigint, $3 external_id text
SELECT created_position
FROM accounts
WHERE ledger_id = $1::bigint AND external_id = $3::text AND deleted_at IS NULL
LIMIT $2::bigint
