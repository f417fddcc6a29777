-- Folds versions of an account that no run covers yet, together with some runs before them, into one new run.
-- The runs' blocks are deleted before the first new one is written, as sorting needs all of them: the new run may begin
-- where one of them did. A version whose effective time is not that of what it discarded makes two changes.
-- $1 ledger_id bigint, $2 account_id uuid, $3 run_starts bigint[], of the runs to merge, $4 first_version bigint,
-- $5 last_version bigint, $6 run_start bigint, of the new run, $7 block_changes integer
WITH merged AS (
    DELETE FROM account_timeline_blocks
    WHERE ledger_id = $1::bigint AND account_id = $2::uuid AND run_start = ANY ($3::bigint[])
    RETURNING effective_ats, posted_debits_sums, posted_credits_sums, pending_debits_sums, pending_credits_sums
),
versions AS (
    SELECT
        lock_version, effective_at, discarded_effective_at, discarded_debits, discarded_credits,
        posted_debits - lag(posted_debits) OVER versions AS posted_debits,
        posted_credits - lag(posted_credits) OVER versions AS posted_credits,
        pending_debits - lag(pending_debits) OVER versions AS pending_debits,
        pending_credits - lag(pending_credits) OVER versions AS pending_credits
    FROM account_versions
    WHERE ledger_id = $1::bigint AND account_id = $2::uuid AND lock_version BETWEEN $4::bigint - 1 AND $5::bigint
    WINDOW versions AS (ORDER BY lock_version)
),
changes AS (
    SELECT
        effective_at, posted_debits, posted_credits,
        pending_debits + coalesce(discarded_debits, 0) AS pending_debits,
        pending_credits + coalesce(discarded_credits, 0) AS pending_credits
    FROM versions
    WHERE lock_version >= $4::bigint
    UNION ALL
    SELECT discarded_effective_at, 0, 0, -discarded_debits, -discarded_credits
    FROM versions
    WHERE lock_version >= $4::bigint AND discarded_effective_at IS NOT NULL
    UNION ALL
    SELECT change.*
    FROM merged
    CROSS JOIN LATERAL (
        SELECT
            effective_at,
            posted_debits - lag(posted_debits, 1, 0::numeric) OVER sums,
            posted_credits - lag(posted_credits, 1, 0::numeric) OVER sums,
            pending_debits - lag(pending_debits, 1, 0::numeric) OVER sums,
            pending_credits - lag(pending_credits, 1, 0::numeric) OVER sums
        FROM unnest(
            merged.effective_ats, merged.posted_debits_sums, merged.posted_credits_sums, merged.pending_debits_sums,
            merged.pending_credits_sums
        ) WITH ORDINALITY AS sum (
            effective_at, posted_debits, posted_credits, pending_debits, pending_credits, number
        )
        WINDOW sums AS (ORDER BY number)
    ) AS change
),
numbered AS (
    SELECT *, row_number() OVER (ORDER BY effective_at) - 1 AS n
    FROM changes
),
summed AS (
    SELECT
        n, n / $7::integer AS block, effective_at, posted_debits, posted_credits, pending_debits, pending_credits,
        sum(posted_debits) OVER block AS posted_debits_sum, sum(posted_credits) OVER block AS posted_credits_sum,
        sum(pending_debits) OVER block AS pending_debits_sum, sum(pending_credits) OVER block AS pending_credits_sum
    FROM numbered
    WINDOW block AS (PARTITION BY n / $7::integer ORDER BY n ROWS UNBOUNDED PRECEDING)
)
INSERT INTO account_timeline_blocks (
    ledger_id, account_id, run_start, from_effective_at, number,
    posted_debits, posted_credits, pending_debits, pending_credits,
    effective_ats, posted_debits_sums, posted_credits_sums, pending_debits_sums, pending_credits_sums
)
SELECT
    $1::bigint, $2::uuid, $6::bigint, min(effective_at), block,
    coalesce(sum(sum(posted_debits)) OVER before, 0), coalesce(sum(sum(posted_credits)) OVER before, 0),
    coalesce(sum(sum(pending_debits)) OVER before, 0), coalesce(sum(sum(pending_credits)) OVER before, 0),
    array_agg(effective_at ORDER BY n), array_agg(posted_debits_sum ORDER BY n),
    array_agg(posted_credits_sum ORDER BY n), array_agg(pending_debits_sum ORDER BY n),
    array_agg(pending_credits_sum ORDER BY n)
FROM summed
GROUP BY block
WINDOW before AS (ORDER BY block ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
