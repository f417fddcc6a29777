-- Accounts with their counters as they stand, by external id.
-- $1 ledger_id bigint, $2 external_ids text[]
SELECT
    account_id, ledger_id, name, description, normal_balance, currency, currency_exponent, external_id, metadata,
    created_position, created_at, updated_at, account_status, limits, deleted_at,
    lock_version, posted_debits, posted_credits, pending_debits, pending_credits, balance_position
FROM accounts_with_balances
WHERE ledger_id = $1::bigint AND external_id = ANY ($2::text[]) AND deleted_at IS NULL
ORDER BY account_id
