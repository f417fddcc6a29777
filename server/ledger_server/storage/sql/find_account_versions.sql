-- For each account its last version that was known: written at a position, at a time and under a lock_version not after
-- those asked for; version 0, whose counters are zero, for an account that was not there yet. And how far it is folded.
-- Lock_versions have no gaps, and positions and times rise with them, so a binary search needs no index but the key.
-- $1 ledger_id bigint, $2 account_ids text[], $3 position bigint or null, $4 written_at timestamptz or null,
-- $5 lock_version bigint or null
WITH RECURSIVE probes AS (
    SELECT
        newest.account_id,
        CASE WHEN newest.is_known THEN newest.lock_version ELSE 0 END AS low,
        CASE WHEN newest.is_known THEN newest.lock_version ELSE greatest(newest.lock_version - 1, 0) END AS high
    FROM unnest($2::text[]::uuid[]) AS asked (account_id)
    CROSS JOIN LATERAL (
        SELECT
            account_id, lock_version,
            ($3::bigint IS NULL OR position <= $3::bigint)
            AND ($4::timestamptz IS NULL OR written_at <= $4::timestamptz)
            AND ($5::bigint IS NULL OR lock_version <= $5::bigint) AS is_known
        FROM account_versions
        WHERE ledger_id = $1::bigint AND account_id = asked.account_id
        ORDER BY lock_version DESC
        LIMIT 1
    ) AS newest
    UNION ALL
    SELECT
        probes.account_id,
        CASE WHEN middle.is_known THEN middle.lock_version ELSE probes.low END,
        CASE WHEN middle.is_known THEN probes.high ELSE middle.lock_version - 1 END
    FROM probes
    CROSS JOIN LATERAL (
        SELECT
            lock_version,
            ($3::bigint IS NULL OR position <= $3::bigint)
            AND ($4::timestamptz IS NULL OR written_at <= $4::timestamptz)
            AND ($5::bigint IS NULL OR lock_version <= $5::bigint) AS is_known
        FROM account_versions
        WHERE ledger_id = $1::bigint AND account_id = probes.account_id
            AND lock_version = (probes.low + probes.high + 1) / 2
        LIMIT 1
    ) AS middle
    WHERE probes.low < probes.high
)
SELECT
    v.account_id, v.lock_version, v.position AS balance_position,
    v.posted_debits, v.posted_credits, v.pending_debits, v.pending_credits,
    coalesce(
        (SELECT folded_version FROM account_timelines WHERE ledger_id = $1::bigint AND account_id = v.account_id), 0
    ) AS folded_version
FROM probes
CROSS JOIN LATERAL (
    SELECT account_id, lock_version, position, posted_debits, posted_credits, pending_debits, pending_credits
    FROM account_versions
    WHERE ledger_id = $1::bigint AND account_id = probes.account_id AND lock_version = probes.low
    LIMIT 1
) AS v
WHERE probes.low = probes.high
