-- Where a ledger's books stand when their verification begins, and where that of its log begins.
-- The newest event comes by ORDER BY … LIMIT 1, one step in the primary key.
-- $1 ledger_id bigint
SELECT
    l.position, l.digest, l.event_time, l.epoch, l.created_at, clock_timestamp() AS now,
    coalesce(c.position, 0) AS checkpoint_position, coalesce(c.digest, sha256('')) AS checkpoint_digest,
    l.monitor_count, l.deleted_at,
    (SELECT count(*) FROM monitors m WHERE m.ledger_id = $1::bigint AND m.deleted_at IS NULL) AS monitors,
    (SELECT e.position FROM events e WHERE e.ledger_id = $1::bigint ORDER BY e.position DESC LIMIT 1) AS newest_position
FROM ledgers l
LEFT JOIN log_checkpoints c ON c.ledger_id = l.ledger_id
WHERE l.ledger_id = $1::bigint
