-- Prunes a bite of a log's oldest events that are older than the retention, and moves the checkpoint along, at once.
-- The newest event always stays. Of two servers at the same bite the second waits, and finds its rows gone: both
-- begin at the oldest, so what is gone is always the log's beginning, and a checkpoint only moves forward.
-- $1 ledger_id bigint, $2 retention interval, $3 events_max bigint
WITH pruned AS (
    DELETE FROM events
    WHERE ledger_id = $1::bigint
        AND position >= (SELECT e.position FROM events e WHERE e.ledger_id = $1::bigint ORDER BY e.position LIMIT 1)
        AND position < (SELECT e.position FROM events e WHERE e.ledger_id = $1::bigint ORDER BY e.position LIMIT 1)
            + $3::bigint
        AND position < (SELECT l.position FROM ledgers l WHERE l.ledger_id = $1::bigint)
        AND time < statement_timestamp() - $2::interval
    RETURNING position, digest
),
moved AS (
    INSERT INTO log_checkpoints AS c (ledger_id, position, digest)
    SELECT $1::bigint, position, digest FROM pruned ORDER BY position DESC LIMIT 1
    ON CONFLICT (ledger_id) DO UPDATE SET position = EXCLUDED.position, digest = EXCLUDED.digest
    WHERE c.position < EXCLUDED.position
)
SELECT count(*) FROM pruned
