-- Accounts with their counters as they stood at positions, one for each, by id. What is not money is as it stands now.
-- The version is found by walking back from the newest: the position is that of a stream's start, seconds ago at
-- most, so the walk is short. The LIMITs, which cut nothing off, keep the planner from hashing all accounts.
-- $1 ledger_id uuid, then text[], one element an account: $2 account_ids, $3 positions
SELECT
    a.account_id, a.ledger_id, a.name, a.description, a.normal_balance, a.currency, a.currency_exponent, a.external_id,
    a.metadata, a.created_position, a.created_at, a.updated_at, a.status AS account_status, a.limits, a.deleted_at,
    v.lock_version, v.posted_debits, v.posted_credits, v.pending_debits, v.pending_credits,
    v.position AS balance_position,
    asked.position AS asked_position
FROM (
    SELECT account_id::uuid AS account_id, position::bigint AS position
    FROM unnest($2::text[], $3::text[]) AS each (account_id, position)
) AS asked
CROSS JOIN LATERAL (
    SELECT *
    FROM accounts
    WHERE ledger_id = $1::uuid AND account_id = asked.account_id
    LIMIT 1
) AS a
CROSS JOIN LATERAL (
    SELECT lock_version, position, posted_debits, posted_credits, pending_debits, pending_credits
    FROM account_versions
    WHERE ledger_id = a.ledger_id AND account_id = a.account_id AND position <= asked.position
    ORDER BY lock_version DESC
    LIMIT 1
) AS v
ORDER BY a.account_id
