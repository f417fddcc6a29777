-- The created position of the non-archived transaction with an external id.
-- $1 ledger_id bigint, $2 row_count bigint, $3 external_id text
SELECT created_position
FROM transactions
WHERE ledger_id = $1::bigint AND external_id = $3::text AND status <> 3
LIMIT $2::bigint
