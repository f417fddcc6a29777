-- Created positions of transactions of which an entry was given other metadata in a range of time, some several times.
-- The LIMIT 1, which cuts nothing off, tells the planner how few rows there are.
-- $1 ledger_id bigint, $2 row_count bigint, $3 lower_bound text, $4 upper_bound text, exclusive
SELECT t.created_position
FROM entry_metadata m
CROSS JOIN LATERAL (
    SELECT transaction_id
    FROM entries
    WHERE ledger_id = $1::bigint AND entry_id = m.entry_id
    LIMIT 1
) AS e
CROSS JOIN LATERAL (
    SELECT created_position
    FROM transactions
    WHERE ledger_id = $1::bigint AND transaction_id = e.transaction_id
    LIMIT 1
) AS t
WHERE m.ledger_id = $1::bigint AND m.updated_at >= $3::text::timestamptz AND m.updated_at < $4::text::timestamptz
LIMIT $2::bigint
