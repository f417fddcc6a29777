-- What is wrong with versions of accounts up to a position: each is the one before and what the transaction of its
-- position wrote and discarded on the account, from the same effective times on, and its event tells of it.
-- The LIMITs, which cut nothing off, keep the planner from hashing whole tables, and IS TRUE from going through all
-- lines of an account for each.
-- $1 ledger_id bigint, $2 position bigint, $3 account_ids text[], $4 lock_versions text[]
WITH pruned AS (
    SELECT coalesce((SELECT position FROM log_checkpoints WHERE ledger_id = $1::bigint), 0) AS position
)
SELECT
    'account_versions' AS table_name,
    jsonb_build_object('account_id', k.account_id, 'lock_version', k.lock_version) AS row_key,
    t.problem, t.expected, t.found
FROM unnest($3::text[], $4::text[]) AS k (account_id, lock_version)
CROSS JOIN pruned
CROSS JOIN LATERAL (
    SELECT *
    FROM account_versions
    WHERE ledger_id = $1::bigint AND account_id = k.account_id::uuid AND lock_version = k.lock_version::bigint
    LIMIT 1
) AS v
LEFT JOIN LATERAL (
    SELECT lock_version, position, posted_debits, posted_credits, pending_debits, pending_credits
    FROM account_versions
    WHERE ledger_id = $1::bigint AND account_id = v.account_id AND lock_version = v.lock_version - 1
    LIMIT 1
) AS b ON true
LEFT JOIN LATERAL (
    SELECT created_position, created_at
    FROM accounts
    WHERE ledger_id = $1::bigint AND account_id = v.account_id
    LIMIT 1
) AS a ON true
LEFT JOIN LATERAL (
    SELECT position, payload
    FROM events
    WHERE ledger_id = $1::bigint AND position = v.position
    LIMIT 1
) AS e ON true
LEFT JOIN LATERAL (
    -- The transaction, and the pending one of which it is a part: both were written at this position.
    WITH written AS MATERIALIZED (
        SELECT w.status, w.first_entry_id, w.effective_at, w.updated_at, w.transaction_id, w.version
        FROM (
            SELECT v.transaction_id
            UNION ALL
            SELECT t.partially_posts_id
            FROM (
                SELECT partially_posts_id
                FROM transactions
                WHERE ledger_id = $1::bigint AND transaction_id = v.transaction_id
                LIMIT 1
            ) AS t
            WHERE t.partially_posts_id IS NOT NULL
        ) AS m
        CROSS JOIN LATERAL (
            SELECT *
            FROM (
                SELECT transaction_id, version, status, first_entry_id, effective_at, updated_at
                FROM transactions
                WHERE ledger_id = $1::bigint AND transaction_id = m.transaction_id AND position = v.position
                UNION ALL
                SELECT transaction_id, version, status, first_entry_id, effective_at, updated_at
                FROM transaction_versions
                WHERE ledger_id = $1::bigint AND transaction_id = m.transaction_id AND position = v.position
            ) AS either
            LIMIT 1
        ) AS w
    ),
    entry_sets AS MATERIALIZED (
        SELECT w.first_entry_id, w.status, w.effective_at, 1 AS sign
        FROM written w
        LEFT JOIN LATERAL (
            SELECT first_entry_id
            FROM transaction_versions
            WHERE ledger_id = $1::bigint AND transaction_id = w.transaction_id AND version = w.version - 1
            LIMIT 1
        ) AS o ON true
        WHERE o.first_entry_id IS DISTINCT FROM w.first_entry_id
        UNION ALL
        SELECT o.first_entry_id, o.status, o.effective_at, -1
        FROM written w
        CROSS JOIN LATERAL (
            SELECT first_entry_id, status, effective_at
            FROM transaction_versions
            WHERE ledger_id = $1::bigint AND transaction_id = w.transaction_id AND version = w.version - 1
            LIMIT 1
        ) AS o
        WHERE o.first_entry_id <> w.first_entry_id
    ),
    lines AS MATERIALIZED (
        SELECT
            s.effective_at,
            CASE WHEN s.status = 2 AND r.direction = 1 THEN s.sign * r.amount ELSE 0 END AS posted_debits,
            CASE WHEN s.status = 2 AND r.direction = 2 THEN s.sign * r.amount ELSE 0 END AS posted_credits,
            CASE WHEN s.status = 1 AND r.direction = 1 THEN s.sign * r.amount ELSE 0 END AS pending_debits,
            CASE WHEN s.status = 1 AND r.direction = 2 THEN s.sign * r.amount ELSE 0 END AS pending_credits
        FROM entry_sets s
        CROSS JOIN LATERAL (
            SELECT direction, amount
            FROM entries
            WHERE ledger_id = $1::bigint
                AND entry_id BETWEEN s.first_entry_id AND s.first_entry_id + 4095
                AND (account_id = v.account_id) IS TRUE
            LIMIT 4096
        ) AS r
        WHERE s.status <> 3
    )
    SELECT
        (SELECT max(w.updated_at) FROM written w) AS updated_at,
        (SELECT count(*) FROM lines) AS line_count,
        c.posted_debits, c.posted_credits, c.pending_debits, c.pending_credits,
        -- What the row says about effective times, less what the entries say.
        (
            SELECT string_agg(g.effective_at::text, ', ' ORDER BY g.effective_at)
            FROM (
                SELECT x.effective_at
                FROM (
                    SELECT effective_at, posted_debits, posted_credits, pending_debits, pending_credits FROM lines
                    UNION ALL
                    SELECT
                        v.effective_at, b.posted_debits - v.posted_debits, b.posted_credits - v.posted_credits,
                        b.pending_debits - v.pending_debits - coalesce(v.discarded_debits, 0),
                        b.pending_credits - v.pending_credits - coalesce(v.discarded_credits, 0)
                    UNION ALL
                    SELECT v.discarded_effective_at, 0, 0, v.discarded_debits, v.discarded_credits
                    WHERE v.discarded_effective_at IS NOT NULL
                ) AS x
                GROUP BY x.effective_at
                HAVING sum(x.posted_debits) <> 0 OR sum(x.posted_credits) <> 0
                    OR sum(x.pending_debits) <> 0 OR sum(x.pending_credits) <> 0
            ) AS g
        ) AS wrong_times
    FROM (
        SELECT
            coalesce(sum(posted_debits), 0) AS posted_debits, coalesce(sum(posted_credits), 0) AS posted_credits,
            coalesce(sum(pending_debits), 0) AS pending_debits, coalesce(sum(pending_credits), 0) AS pending_credits
        FROM lines
    ) AS c
) AS d ON v.lock_version > 0
CROSS JOIN LATERAL (
    VALUES
        (
            'the version before it',
            CASE WHEN v.lock_version > 0 THEN (v.lock_version - 1)::text END,
            b.lock_version::text
        ),
        (
            'position',
            CASE
                WHEN v.lock_version = 0 THEN a.created_position::text
                WHEN b.position >= v.position THEN 'above ' || b.position
                ELSE v.position::text
            END,
            v.position::text
        ),
        (
            'written_at, the time of its command',
            CASE WHEN v.lock_version = 0 THEN a.created_at ELSE d.updated_at END::text,
            v.written_at::text
        ),
        (
            'a transaction of its position that touches the account',
            CASE WHEN v.lock_version > 0 THEN 'a line' END,
            CASE WHEN v.lock_version > 0 AND d.line_count > 0 THEN 'a line' END
        ),
        (
            'posted debits and credits, pending debits and credits',
            CASE
                WHEN v.lock_version = 0 THEN '0, 0, 0, 0'
                ELSE concat_ws(
                    ', ', b.posted_debits + d.posted_debits, b.posted_credits + d.posted_credits,
                    b.pending_debits + d.pending_debits, b.pending_credits + d.pending_credits
                )
            END,
            concat_ws(', ', v.posted_debits, v.posted_credits, v.pending_debits, v.pending_credits)
        ),
        (
            'effective times of what changed',
            NULL,
            -- Where the counters are wrong, so are these, and it is said already.
            CASE
                WHEN (v.posted_debits, v.posted_credits, v.pending_debits, v.pending_credits) = (
                    b.posted_debits + d.posted_debits, b.posted_credits + d.posted_credits,
                    b.pending_debits + d.pending_debits, b.pending_credits + d.pending_credits
                ) THEN d.wrong_times
            END
        ),
        (
            'its event',
            CASE WHEN v.position > pruned.position THEN v.position::text END,
            CASE
                -- A transaction's event has ids as bytes, other events have them as text; see events/stored.py.
                WHEN position(uuid_send(v.account_id) IN e.payload) > 0
                    OR position(convert_to(v.account_id::text, 'UTF8') IN e.payload) > 0 THEN v.position::text
                WHEN e.position IS NOT NULL THEN 'an event that does not tell of it'
            END
        )
) AS t (problem, expected, found)
WHERE v.position <= $2::bigint AND t.expected IS DISTINCT FROM t.found
ORDER BY k.account_id, k.lock_version::bigint
