-- A page of the log after a position, as it is stored, for those who verify it.
-- Positions are dense, so a page is a range of the primary key; it is cut where its bytes exceed the limit, but not
-- before its first event. What they are added up over must end itself, or each page would read the whole rest of the
-- log.
-- $1 ledger_id bigint, $2 after_position bigint, $3 last_position bigint, $4 bytes_max bigint
SELECT position, time, payload, digest
FROM (
    SELECT
        position, time, payload, digest,
        sum(octet_length(payload)) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) - octet_length(payload)
            AS bytes_before
    FROM (
        SELECT position, time, payload, digest
        FROM events
        WHERE ledger_id = $1::bigint AND position > $2::bigint AND position <= $3::bigint
        ORDER BY position
        LIMIT 1000
    ) AS next
) AS following
WHERE bytes_before < $4::bigint
ORDER BY position
