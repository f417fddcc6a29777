-- Where the verification of a log starts once its oldest events are pruned; no row: at the beginning.
-- $1 ledger_id bigint
SELECT position, digest
FROM log_checkpoints
WHERE ledger_id = $1::bigint
