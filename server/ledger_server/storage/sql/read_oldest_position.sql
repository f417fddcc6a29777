-- The oldest event that is still there; no row if all are pruned.
-- $1 ledger_id uuid
SELECT position FROM events WHERE ledger_id = $1::uuid ORDER BY position LIMIT 1
