-- Of an account's versions in a range, the last of each interval of time, newest first.
-- As thin_account_versions_forward.sql: the next one is the last that was written before the interval of the one
-- before.
-- $1 ledger_id bigint, $2 account_id uuid, $3 first_version bigint, $4 last_version bigint, $5 interval text, of UTC:
-- hour, day, month …, $6 row_count bigint, $7 before_version bigint or null, of whose interval none is wanted any more
WITH RECURSIVE chosen AS (
    SELECT
        $4::bigint + 1 AS lock_version, 0::bigint AS number,
        coalesce(
            (
                SELECT date_trunc($5::text, written_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
                FROM account_versions
                WHERE ledger_id = $1::bigint AND account_id = $2::uuid AND lock_version = $7::bigint
            ),
            'infinity'::timestamptz
        ) AS until
    UNION ALL
    SELECT found.lock_version, chosen.number + 1, found.until
    FROM chosen
    CROSS JOIN LATERAL (
        WITH RECURSIVE probes AS (
            -- Before the first of the range there is none: then nothing is found.
            SELECT $3::bigint - 1 AS low, chosen.lock_version - 1 AS high
            UNION ALL
            SELECT
                CASE WHEN middle.written_at < chosen.until THEN middle.lock_version ELSE probes.low END,
                CASE WHEN middle.written_at < chosen.until THEN probes.high ELSE middle.lock_version - 1 END
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
        SELECT
            v.lock_version, date_trunc($5::text, v.written_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' AS until
        FROM probes
        CROSS JOIN LATERAL (
            SELECT lock_version, written_at
            FROM account_versions
            WHERE ledger_id = $1::bigint AND account_id = $2::uuid AND lock_version = probes.low
            LIMIT 1
        ) AS v
        WHERE probes.low = probes.high AND probes.low >= $3::bigint
    ) AS found
    WHERE chosen.number < $6::bigint
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
ORDER BY v.lock_version DESC
