-- Where the logs of ledgers end: the poll behind every stream, one for all ledgers that are watched.
-- A deleted ledger's log has an end too, which its readers still get to see.
-- The time is the statement's, which is before its snapshot, so it never says too much.
-- $1 ledger_ids bigint[]
SELECT
    ledger_id, position, epoch, greatest(statement_timestamp(), event_time) AS time,
    deleted_at IS NOT NULL AS is_deleted
FROM ledgers
WHERE ledger_id = ANY ($1::bigint[])
