-- Of an account's versions in a range, the last of each interval of time, oldest first.
-- The last version of an interval is found by binary search among the dense lock_versions behind its first one, so what
-- is thinned out is not read.
-- $1 ledger_id bigint, $2 account_id uuid, $3 first_version bigint, $4 last_version bigint, $5 interval text, of UTC:
-- hour, day, month …, $6 row_count bigint
WITH RECURSIVE chosen AS (
    SELECT $3::bigint - 1 AS lock_version, 0::bigint AS number
    UNION ALL
    SELECT found.lock_version, chosen.number + 1
    FROM chosen
    CROSS JOIN LATERAL (
        WITH RECURSIVE probes AS (
            SELECT
                lock_version AS low, $4::bigint AS high,
                (date_trunc($5::text, written_at AT TIME ZONE 'UTC') + ('1 ' || $5::text)::interval)
                    AT TIME ZONE 'UTC' AS until
            FROM account_versions
            WHERE ledger_id = $1::bigint AND account_id = $2::uuid AND lock_version = chosen.lock_version + 1
            UNION ALL
            SELECT
                CASE WHEN middle.written_at < probes.until THEN middle.lock_version ELSE probes.low END,
                CASE WHEN middle.written_at < probes.until THEN probes.high ELSE middle.lock_version - 1 END,
                probes.until
            FROM probes
            CROSS JOIN LATERAL (
                SELECT lock_version, written_at
                FROM account_versions
                WHERE ledger_id = $1::bigint AND account_id = $2::uuid
                    AND lock_version = (probes.low + probes.high + 1) / 2
                LIMIT 1
            ) AS middle
            WHERE probes.low < probes.high
        )
        SELECT low AS lock_version
        FROM probes
        WHERE low = high
    ) AS found
    WHERE chosen.lock_version < $4::bigint AND chosen.number < $6::bigint
)
SELECT
    v.lock_version, v.position, v.written_at, v.transaction_id, v.posted_debits, v.posted_credits, v.pending_debits,
    v.pending_credits
FROM chosen
CROSS JOIN LATERAL (
    SELECT *
    FROM account_versions
    WHERE ledger_id = $1::bigint AND account_id = $2::uuid AND lock_version = chosen.lock_version
    LIMIT 1
) AS v
WHERE chosen.number > 0
ORDER BY v.lock_version
