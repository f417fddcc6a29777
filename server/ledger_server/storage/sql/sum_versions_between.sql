-- What some consecutive versions of an account changed at effective times before some others.
-- The first of them only gives the counters that the next one's are compared with.
-- $1 ledger_id bigint, $2 account_id uuid, $3 first_version bigint, $4 last_version bigint, $5 times text[]
SELECT
    times.before,
    coalesce(sum(version.posted_debits) FILTER (WHERE version.effective_at < times.before), 0) AS posted_debits,
    coalesce(sum(version.posted_credits) FILTER (WHERE version.effective_at < times.before), 0) AS posted_credits,
    coalesce(sum(version.pending_debits) FILTER (WHERE version.effective_at < times.before), 0)
    + coalesce(sum(version.discarded_debits) FILTER (WHERE version.effective_at < times.before), 0)
    - coalesce(sum(version.discarded_debits) FILTER (WHERE version.discarded_effective_at < times.before), 0)
        AS pending_debits,
    coalesce(sum(version.pending_credits) FILTER (WHERE version.effective_at < times.before), 0)
    + coalesce(sum(version.discarded_credits) FILTER (WHERE version.effective_at < times.before), 0)
    - coalesce(sum(version.discarded_credits) FILTER (WHERE version.discarded_effective_at < times.before), 0)
        AS pending_credits
FROM (
    SELECT
        lock_version, effective_at, discarded_effective_at, discarded_debits, discarded_credits,
        posted_debits - lag(posted_debits) OVER versions AS posted_debits,
        posted_credits - lag(posted_credits) OVER versions AS posted_credits,
        pending_debits - lag(pending_debits) OVER versions AS pending_debits,
        pending_credits - lag(pending_credits) OVER versions AS pending_credits
    FROM account_versions
    WHERE ledger_id = $1::bigint AND account_id = $2::uuid AND lock_version BETWEEN $3::bigint AND $4::bigint
    WINDOW versions AS (ORDER BY lock_version)
) AS version
CROSS JOIN unnest($5::text[]::timestamptz[]) AS times (before)
WHERE version.lock_version > $3::bigint
GROUP BY times.before
