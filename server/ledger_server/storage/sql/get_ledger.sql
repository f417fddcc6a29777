-- One ledger.
-- $1 ledger_id bigint
SELECT ledger_id, name, description, metadata, created_at, updated_at, closed_before, position, epoch
FROM ledgers
WHERE ledger_id = $1::bigint AND deleted_at IS NULL
