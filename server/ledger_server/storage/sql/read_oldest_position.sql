-- The oldest event that is still there; no row if all are pruned.
-- $1 ledger_id bigint
SELECT position FROM events WHERE ledger_id = $1::bigint ORDER BY position LIMIT 1
