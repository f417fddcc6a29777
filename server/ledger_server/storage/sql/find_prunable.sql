-- A page of all ledgers, each with whether events can be pruned: the oldest is older than the retention, and it is not
-- the newest, which always stays.
-- The oldest event comes by ORDER BY … LIMIT 1, one step in the primary key.
-- $1 after_ledger_id bigint, $2 retention interval, $3 ledgers_max bigint
SELECT
    page.ledger_id,
    oldest.position < page.position AND oldest.time < statement_timestamp() - $2::interval AS is_due
FROM (
    SELECT ledger_id, position FROM ledgers WHERE ledger_id > $1::bigint ORDER BY ledger_id LIMIT $3::bigint
) AS page
LEFT JOIN LATERAL (
    SELECT e.position, e.time
    FROM events e
    WHERE e.ledger_id = page.ledger_id
    ORDER BY e.position
    LIMIT 1
) AS oldest ON true
ORDER BY page.ledger_id
