-- The epochs of ledgers as they are now, also of those that were deleted.
-- $1 ledger_ids bigint[]
SELECT ledger_id, epoch
FROM ledgers
WHERE ledger_id = ANY ($1::bigint[])
