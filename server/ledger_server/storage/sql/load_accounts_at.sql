-- Accounts with their counters as they stood at a position, by id. What is not money is as it stands now.
-- The version is found by walking back from the newest: the position is that of a stream's start, seconds ago at
-- most, so the walk is short.
-- $1 ledger_id uuid, $2 account_ids text[], $3 position bigint
SELECT
    a.account_id, a.ledger_id, a.name, a.description, a.normal_balance, a.currency, a.currency_exponent, a.external_id,
    a.metadata, a.created_position, a.created_at, a.updated_at, a.status AS account_status, a.limits, a.deleted_at,
    v.lock_version, v.posted_debits, v.posted_credits, v.pending_debits, v.pending_credits, v.position AS balance_position
FROM accounts a
CROSS JOIN LATERAL (
    SELECT lock_version, position, posted_debits, posted_credits, pending_debits, pending_credits
    FROM account_versions
    WHERE ledger_id = a.ledger_id AND account_id = a.account_id AND position <= $3::bigint
    ORDER BY lock_version DESC
    LIMIT 1
) AS v
WHERE a.ledger_id = $1::uuid AND a.account_id = ANY ($2::text[]::uuid[])
ORDER BY a.account_id
