-- What is wrong with what is folded of accounts, run by run: by the counters at its ends, by the order of its blocks,
-- and, where a run is not too long to be read at once, by each change of each version.
-- A timeline is made again and again beside writers, so it is held against the versions of the same snapshot.
-- $1 ledger_id bigint, $2 position bigint, $3 account_ids text[], $4 versions_max bigint, of a run that is read whole
SELECT
    'account_timelines' AS table_name,
    jsonb_build_object('account_id', k.account_id, 'run_start', r.first_version::text) AS row_key,
    t.problem, t.expected, t.found
FROM unnest($3::text[]) AS k (account_id)
CROSS JOIN LATERAL (
    SELECT account_id, folded_version, run_starts
    FROM account_timelines
    WHERE ledger_id = $1::bigint AND account_id = k.account_id::uuid
    LIMIT 1
) AS f
CROSS JOIN LATERAL (
    SELECT start AS first_version, lead(start, 1, f.folded_version + 1) OVER (ORDER BY start) - 1 AS last_version
    FROM unnest(f.run_starts) AS s (start)
) AS r
LEFT JOIN LATERAL (
    SELECT posted_debits, posted_credits, pending_debits, pending_credits
    FROM account_versions
    WHERE ledger_id = $1::bigint AND account_id = f.account_id AND lock_version = r.first_version - 1
    LIMIT 1
) AS b ON true
LEFT JOIN LATERAL (
    SELECT posted_debits, posted_credits, pending_debits, pending_credits
    FROM account_versions
    WHERE ledger_id = $1::bigint AND account_id = f.account_id AND lock_version = r.last_version
    LIMIT 1
) AS v ON true
CROSS JOIN LATERAL (
    SELECT
        (array_agg(sums ORDER BY number DESC))[1] AS sums,
        coalesce(min(number) FILTER (WHERE NOT is_next), -1) AS wrong_number
    FROM (
        SELECT
            number,
            concat_ws(
                ', ', posted_debits + posted_debits_sums[cardinality(effective_ats)],
                posted_credits + posted_credits_sums[cardinality(effective_ats)],
                pending_debits + pending_debits_sums[cardinality(effective_ats)],
                pending_credits + pending_credits_sums[cardinality(effective_ats)]
            ) AS sums,
            number = coalesce(lag(number) OVER blocks + 1, 0)
            AND posted_debits = coalesce(
                lag(posted_debits + posted_debits_sums[cardinality(effective_ats)]) OVER blocks, 0
            )
            AND posted_credits = coalesce(
                lag(posted_credits + posted_credits_sums[cardinality(effective_ats)]) OVER blocks, 0
            )
            AND pending_debits = coalesce(
                lag(pending_debits + pending_debits_sums[cardinality(effective_ats)]) OVER blocks, 0
            )
            AND pending_credits = coalesce(
                lag(pending_credits + pending_credits_sums[cardinality(effective_ats)]) OVER blocks, 0
            )
            AND from_effective_at = effective_ats[1]
            AND from_effective_at >= coalesce(
                lag(effective_ats[cardinality(effective_ats)]) OVER blocks, from_effective_at
            )
            AND effective_ats = ARRAY(SELECT x FROM unnest(effective_ats) AS times (x) ORDER BY x) AS is_next
        FROM account_timeline_blocks
        WHERE ledger_id = $1::bigint AND account_id = f.account_id AND run_start = r.first_version
        WINDOW blocks AS (ORDER BY from_effective_at, number)
    ) AS block
) AS c
LEFT JOIN LATERAL (
    SELECT string_agg(g.effective_at::text, ', ') AS wrong_times
    FROM (
        SELECT x.effective_at
        FROM (
            SELECT n.effective_at, n.posted_debits, n.posted_credits, n.pending_debits, n.pending_credits
            FROM (
                SELECT
                    lock_version, effective_at, posted_debits - lag(posted_debits) OVER versions AS posted_debits,
                    posted_credits - lag(posted_credits) OVER versions AS posted_credits,
                    pending_debits - lag(pending_debits) OVER versions
                        + coalesce(discarded_debits, 0) AS pending_debits,
                    pending_credits - lag(pending_credits) OVER versions + coalesce(discarded_credits, 0)
                        AS pending_credits
                FROM account_versions
                WHERE ledger_id = $1::bigint AND account_id = f.account_id
                    AND lock_version BETWEEN r.first_version - 1 AND r.last_version
                WINDOW versions AS (ORDER BY lock_version)
            ) AS n
            WHERE n.lock_version >= r.first_version
            UNION ALL
            SELECT discarded_effective_at, 0, 0, -discarded_debits, -discarded_credits
            FROM account_versions
            WHERE ledger_id = $1::bigint AND account_id = f.account_id
                AND lock_version BETWEEN r.first_version AND r.last_version AND discarded_effective_at IS NOT NULL
            UNION ALL
            SELECT
                change.effective_at, -change.posted_debits, -change.posted_credits, -change.pending_debits,
                -change.pending_credits
            FROM account_timeline_blocks l
            CROSS JOIN LATERAL (
                SELECT
                    effective_at,
                    posted_debits - lag(posted_debits, 1, 0::numeric) OVER sums AS posted_debits,
                    posted_credits - lag(posted_credits, 1, 0::numeric) OVER sums AS posted_credits,
                    pending_debits - lag(pending_debits, 1, 0::numeric) OVER sums AS pending_debits,
                    pending_credits - lag(pending_credits, 1, 0::numeric) OVER sums AS pending_credits
                FROM unnest(
                    l.effective_ats, l.posted_debits_sums, l.posted_credits_sums, l.pending_debits_sums,
                    l.pending_credits_sums
                ) WITH ORDINALITY AS sum (
                    effective_at, posted_debits, posted_credits, pending_debits, pending_credits, number
                )
                WINDOW sums AS (ORDER BY number)
            ) AS change
            WHERE l.ledger_id = $1::bigint AND l.account_id = f.account_id AND l.run_start = r.first_version
        ) AS x
        GROUP BY x.effective_at
        HAVING sum(x.posted_debits) <> 0 OR sum(x.posted_credits) <> 0
            OR sum(x.pending_debits) <> 0 OR sum(x.pending_credits) <> 0
        ORDER BY x.effective_at
        LIMIT 10
    ) AS g
) AS e ON r.last_version - r.first_version < $4::bigint
CROSS JOIN LATERAL (
    VALUES
        (
            'the versions that are folded',
            CASE WHEN f.run_starts[1] = 1 AND v.posted_debits IS NOT NULL THEN ''
                ELSE 'from 1 to one that is there' END,
            ''
        ),
        (
            'sums of a run',
            concat_ws(
                ', ', v.posted_debits - b.posted_debits, v.posted_credits - b.posted_credits,
                v.pending_debits - b.pending_debits, v.pending_credits - b.pending_credits
            ),
            c.sums
        ),
        (
            'the order of its blocks, and what each sums up of those before',
            NULL,
            CASE WHEN c.wrong_number >= 0 THEN 'not so in block ' || c.wrong_number END
        ),
        ('effective times of what changed', NULL, e.wrong_times)
) AS t (problem, expected, found)
WHERE $2::bigint IS NOT NULL AND t.expected IS DISTINCT FROM t.found
ORDER BY k.account_id, r.first_version
