-- A page of the log after a position, and the log's head at the same moment: one row.
-- Positions are dense, so a page is a range of the primary key, and needs neither LIMIT nor sort; it is cut where
-- its bytes exceed the limit, but not before its first event.
-- $1 ledger_id bigint, $2 after_position bigint, $3 events_max bigint, $4 bytes_max bigint
SELECT
    l.position AS head, l.epoch, greatest(statement_timestamp(), l.event_time) AS time,
    l.deleted_at IS NOT NULL AS is_deleted,
    page.first_position, page.last_position, page.times, page.payloads
FROM ledgers l
CROSS JOIN (
    SELECT
        min(position) AS first_position, max(position) AS last_position,
        array_agg(time ORDER BY position) AS times, array_agg(payload ORDER BY position) AS payloads
    FROM (
        SELECT
            position, time, payload,
            sum(octet_length(payload)) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) - octet_length(payload)
                AS bytes_before
        FROM events
        WHERE ledger_id = $1::bigint AND position > $2::bigint AND position <= $2::bigint + $3::bigint
    ) AS following
    WHERE bytes_before < $4::bigint
) AS page
WHERE l.ledger_id = $1::bigint
