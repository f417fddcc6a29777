-- Accounts with their counters as they stood at positions, one for each, by id. What is not money is as it stands now.
-- Lock_versions have no gaps, and positions rise with them, so a binary search needs no index but the key. The LIMITs,
-- which cut nothing off, keep the planner from hashing all accounts.
-- $1 ledger_id bigint, then text[], one element an account: $2 account_ids, $3 positions
WITH RECURSIVE probes AS (
    SELECT
        asked.account_id, asked.position,
        CASE WHEN newest.position <= asked.position THEN newest.lock_version ELSE 0 END AS low,
        CASE WHEN newest.position <= asked.position THEN newest.lock_version ELSE newest.lock_version - 1 END AS high
    FROM (
        SELECT account_id::uuid AS account_id, position::bigint AS position
        FROM unnest($2::text[], $3::text[]) AS each (account_id, position)
    ) AS asked
    CROSS JOIN LATERAL (
        SELECT lock_version, position
        FROM account_versions
        WHERE ledger_id = $1::bigint AND account_id = asked.account_id
        ORDER BY lock_version DESC
        LIMIT 1
    ) AS newest
    UNION ALL
    SELECT
        probes.account_id, probes.position,
        CASE WHEN middle.position <= probes.position THEN middle.lock_version ELSE probes.low END,
        CASE WHEN middle.position <= probes.position THEN probes.high ELSE middle.lock_version - 1 END
    FROM probes
    CROSS JOIN LATERAL (
        SELECT lock_version, position
        FROM account_versions
        WHERE ledger_id = $1::bigint AND account_id = probes.account_id
            AND lock_version = (probes.low + probes.high + 1) / 2
        LIMIT 1
    ) AS middle
    WHERE probes.low < probes.high
)
SELECT
    a.account_id, a.ledger_id, a.name, a.description, a.normal_balance, a.currency, a.currency_exponent, a.external_id,
    a.metadata, a.created_position, a.created_at, a.updated_at, a.status AS account_status, a.limits, a.deleted_at,
    v.lock_version, v.posted_debits, v.posted_credits, v.pending_debits, v.pending_credits,
    v.position AS balance_position,
    probes.position AS asked_position
FROM probes
CROSS JOIN LATERAL (
    SELECT *
    FROM accounts
    WHERE ledger_id = $1::bigint AND account_id = probes.account_id
    LIMIT 1
) AS a
CROSS JOIN LATERAL (
    SELECT lock_version, position, posted_debits, posted_credits, pending_debits, pending_credits
    FROM account_versions
    WHERE ledger_id = a.ledger_id AND account_id = a.account_id AND lock_version = probes.low
        AND position <= probes.position
    LIMIT 1
) AS v
WHERE probes.low = probes.high
ORDER BY a.account_id
