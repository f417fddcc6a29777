-- Where a ledger's log stands; the first statement of a read, so that its snapshot is of this position.
-- $1 ledger_id bigint
SELECT position, epoch
FROM ledgers
WHERE ledger_id = $1::bigint AND deleted_at IS NULL
