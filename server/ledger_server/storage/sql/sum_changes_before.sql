-- What the versions of accounts, up to some lock_version each, changed at effective times before some others.
-- Folded runs answer from one block each. They are taken up to the run boundary next to the lock_version asked for, and
-- the versions in between are added or, if the boundary is behind it, subtracted: nothing else is read. If these are
-- very many they are left out, and `left_first` and `left_last` say which: they are to be read in parts and taken
-- `left_sign` times.
-- The first of the versions in between only gives the counters that the next one's are compared with.
-- $1 ledger_id bigint, $2 account_ids text[], $3 lock_versions text[], of each account, $4 times text[]: the driver
-- would make infinity of the last microsecond that it knows, $5 the most versions in between, bigint
WITH asked AS (
    SELECT account_id::uuid AS account_id, lock_version::bigint AS lock_version
    FROM unnest($2::text[], $3::text[]) AS a (account_id, lock_version)
),
planned AS (
    SELECT
        asked.account_id, timeline.run_starts, boundary.lock_version AS boundary,
        least(asked.lock_version, boundary.lock_version) AS first_version,
        greatest(asked.lock_version, boundary.lock_version) AS last_version,
        CASE WHEN asked.lock_version < boundary.lock_version THEN -1 ELSE 1 END AS sign
    FROM asked
    LEFT JOIN LATERAL (
        SELECT folded_version, run_starts
        FROM account_timelines
        WHERE ledger_id = $1::bigint AND account_id = asked.account_id
        LIMIT 1
    ) AS timeline ON true
    CROSS JOIN LATERAL (
        SELECT start - 1 AS lock_version
        FROM unnest(1::bigint || timeline.run_starts || (timeline.folded_version + 1)) AS starts (start)
        WHERE start IS NOT NULL
        ORDER BY abs(start - 1 - asked.lock_version)
        LIMIT 1
    ) AS boundary
),
near AS (
    SELECT * FROM planned WHERE last_version - first_version <= $5::bigint
),
sums AS (
    SELECT
        planned.account_id, times.before,
        block.posted_debits + block.posted_debits_sums[last.number] AS posted_debits,
        block.posted_credits + block.posted_credits_sums[last.number] AS posted_credits,
        block.pending_debits + block.pending_debits_sums[last.number] AS pending_debits,
        block.pending_credits + block.pending_credits_sums[last.number] AS pending_credits,
        NULL::bigint AS left_first, NULL::bigint AS left_last, NULL::integer AS left_sign
    FROM planned
    CROSS JOIN unnest($4::text[]::timestamptz[]) AS times (before)
    CROSS JOIN LATERAL unnest(planned.run_starts) AS runs (run_start)
    CROSS JOIN LATERAL (
        SELECT *
        FROM account_timeline_blocks
        WHERE ledger_id = $1::bigint AND account_id = planned.account_id AND run_start = runs.run_start
            AND from_effective_at < times.before
        ORDER BY from_effective_at DESC, number DESC
        LIMIT 1
    ) AS block
    -- A binary search for the last change before the time: how many of the sorted times are not after it, a moment
    -- before.
    CROSS JOIN LATERAL (
        SELECT width_bucket(times.before - interval '1 microsecond', block.effective_ats) AS number
    ) AS last
    WHERE runs.run_start <= planned.boundary
    UNION ALL
    SELECT
        near.account_id, times.before,
        near.sign * coalesce(sum(version.posted_debits) FILTER (WHERE version.effective_at < times.before), 0),
        near.sign * coalesce(sum(version.posted_credits) FILTER (WHERE version.effective_at < times.before), 0),
        near.sign * (
            coalesce(sum(version.pending_debits) FILTER (WHERE version.effective_at < times.before), 0)
            + coalesce(sum(version.discarded_debits) FILTER (WHERE version.effective_at < times.before), 0)
            - coalesce(sum(version.discarded_debits) FILTER (WHERE version.discarded_effective_at < times.before), 0)
        ),
        near.sign * (
            coalesce(sum(version.pending_credits) FILTER (WHERE version.effective_at < times.before), 0)
            + coalesce(sum(version.discarded_credits) FILTER (WHERE version.effective_at < times.before), 0)
            - coalesce(sum(version.discarded_credits) FILTER (WHERE version.discarded_effective_at < times.before), 0)
        ),
        NULL, NULL, NULL
    FROM near
    CROSS JOIN LATERAL (
        SELECT
            lock_version, effective_at, discarded_effective_at, discarded_debits, discarded_credits,
            posted_debits - lag(posted_debits) OVER versions AS posted_debits,
            posted_credits - lag(posted_credits) OVER versions AS posted_credits,
            pending_debits - lag(pending_debits) OVER versions AS pending_debits,
            pending_credits - lag(pending_credits) OVER versions AS pending_credits
        FROM account_versions
        WHERE ledger_id = $1::bigint AND account_id = near.account_id
            AND lock_version BETWEEN near.first_version AND near.last_version
        WINDOW versions AS (ORDER BY lock_version)
    ) AS version
    CROSS JOIN unnest($4::text[]::timestamptz[]) AS times (before)
    WHERE version.lock_version > near.first_version
    GROUP BY near.account_id, times.before, near.sign
    UNION ALL
    SELECT
        planned.account_id, times.before, 0, 0, 0, 0, planned.first_version, planned.last_version, planned.sign
    FROM planned
    CROSS JOIN unnest($4::text[]::timestamptz[]) AS times (before)
    WHERE planned.last_version - planned.first_version > $5::bigint
)
SELECT
    account_id, before, sum(posted_debits) AS posted_debits, sum(posted_credits) AS posted_credits,
    sum(pending_debits) AS pending_debits, sum(pending_credits) AS pending_credits,
    max(left_first) AS left_first, max(left_last) AS left_last, max(left_sign) AS left_sign
FROM sums
GROUP BY account_id, before
