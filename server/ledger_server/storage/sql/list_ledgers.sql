-- Ledgers after a key, oldest first. The nil ledger, which is the registry of ledgers, is none of the callers'.
-- No filter, so that no plan is better than walking ledgers_by_creation until LIMIT; see filter_ledgers.sql.
-- $1 created_at timestamptz, $2 ledger_id bigint, the key; $3 row_count bigint
SELECT ledger_id, name, description, metadata, created_at, updated_at, closed_before, position, epoch
FROM ledgers
WHERE (created_at, ledger_id) > ($1::timestamptz, $2::bigint)
    AND ledger_id <> 0 AND deleted_at IS NULL
ORDER BY created_at, ledger_id
LIMIT $3::bigint
