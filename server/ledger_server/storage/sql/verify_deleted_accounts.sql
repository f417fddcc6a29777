-- Deleted accounts whose deletion no event tells of. It has the time of its event, but not the position. Times rise
-- with positions, so where the events of a time begin and end is found by halving, without an index on times. Of a time
-- that so many share as only a clock that was put back makes them, none is looked for, and none that may be pruned.
-- For how an event tells of an account see verify_category_accounts.sql.
-- $1 ledger_id bigint, $2 position bigint, which does not matter, $3 account_ids text[]
WITH log AS (
    SELECT o.position AS oldest, o.time, l.position + 1 AS next
    FROM ledgers l
    CROSS JOIN LATERAL (
        SELECT position, time
        FROM events
        WHERE ledger_id = $1::bigint
        ORDER BY position
        LIMIT 1
    ) AS o
    WHERE l.ledger_id = $1::bigint
)
SELECT
    'accounts' AS table_name, jsonb_build_object('account_id', k.account_id) AS row_key,
    'the event of its deletion' AS problem, 'an event of ' || a.deleted_at AS expected, NULL AS found
FROM unnest($3::text[]) AS k (account_id)
CROSS JOIN log
CROSS JOIN LATERAL (
    SELECT deleted_at
    FROM accounts
    WHERE ledger_id = $1::bigint AND account_id = k.account_id::uuid AND deleted_at IS NOT NULL
    LIMIT 1
) AS a
CROSS JOIN LATERAL (
    WITH RECURSIVE narrowed (time, low, high) AS (
        SELECT b.time, log.oldest, log.next
        FROM (VALUES (a.deleted_at), (a.deleted_at + interval '1 microsecond')) AS b (time)
        UNION ALL
        SELECT
            narrowed.time,
            CASE WHEN e.time < narrowed.time THEN e.position + 1 ELSE narrowed.low END,
            CASE WHEN e.time < narrowed.time THEN narrowed.high ELSE e.position END
        FROM narrowed
        CROSS JOIN LATERAL (
            SELECT position, time
            FROM events
            WHERE ledger_id = $1::bigint AND position = (narrowed.low + narrowed.high) / 2
            LIMIT 1
        ) AS e
        WHERE narrowed.low < narrowed.high
    )
    SELECT min(low) AS low, max(low) AS high
    FROM narrowed
    WHERE low = high
) AS s
LEFT JOIN LATERAL (
    SELECT position
    FROM events
    WHERE ledger_id = $1::bigint AND position >= s.low AND position < s.high
        AND substring(payload FROM 1 FOR 3) = '\x002032'
        AND position(convert_to('B$' || k.account_id, 'UTF8') IN payload) > 0
    LIMIT 1
) AS e ON true
WHERE $2::bigint IS NOT NULL AND s.high - s.low <= 100000 AND (a.deleted_at > log.time OR log.oldest = 1)
    AND e.position IS NULL
ORDER BY k.account_id
