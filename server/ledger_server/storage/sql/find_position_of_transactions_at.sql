-- The first created position of which the transaction was created at a time or later; one past all if none was.
-- Times of creation rise with positions, so halving the positions finds it, without an index on times.
-- $1 ledger_id bigint, $2 time text
WITH RECURSIVE search AS (
    SELECT 0::bigint AS low, l.position + 1 AS high
    FROM ledgers l
    WHERE l.ledger_id = $1::bigint
    UNION ALL
    SELECT
        CASE WHEN p.created_at < $2::text::timestamptz THEN p.created_position + 1 ELSE s.low END,
        CASE WHEN p.created_at < $2::text::timestamptz THEN s.high ELSE (s.low + s.high) / 2 END
    FROM search s
    LEFT JOIN LATERAL (
        SELECT created_position, created_at
        FROM transactions
        WHERE ledger_id = $1::bigint AND created_position >= (s.low + s.high) / 2
        ORDER BY created_position
        LIMIT 1
    ) AS p ON true
    WHERE s.low < s.high
)
SELECT low
FROM search
WHERE low >= high
LIMIT 1
