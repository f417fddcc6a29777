-- The last position of a ledger whose time is not after a time; null if the log that would tell is pruned.
-- Positions have no gaps and times rise with them, so halving finds it, without an index on times.
-- $1 ledger_id bigint, $2 time timestamptz
WITH RECURSIVE search AS (
    SELECT
        CASE WHEN l.event_time <= $2::timestamptz THEN l.position ELSE coalesce(o.position - 1, l.position) END AS low,
        l.position AS high,
        CASE WHEN l.event_time <= $2::timestamptz THEN 0 ELSE coalesce(o.position, l.position + 1) END AS oldest
    FROM ledgers l
    LEFT JOIN LATERAL (
        SELECT position
        FROM events
        WHERE ledger_id = $1::bigint
        ORDER BY position
        LIMIT 1
    ) AS o ON true
    WHERE l.ledger_id = $1::bigint
    UNION ALL
    SELECT
        CASE WHEN e.time <= $2::timestamptz THEN e.position ELSE s.low END,
        CASE WHEN e.time <= $2::timestamptz THEN s.high ELSE e.position - 1 END,
        s.oldest
    FROM search s
    CROSS JOIN LATERAL (
        SELECT position, time
        FROM events
        WHERE ledger_id = $1::bigint AND position = (s.low + s.high + 1) / 2
        LIMIT 1
    ) AS e
    WHERE s.low < s.high
)
SELECT CASE WHEN low >= oldest OR oldest = 1 THEN low END AS position
FROM search
WHERE low = high
