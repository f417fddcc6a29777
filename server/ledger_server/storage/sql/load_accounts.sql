-- Accounts with their counters as they stand, by id.
-- No lock of their own: the ledger's row lock, which every writer of accounts holds, is the guard.
-- $1 ledger_id bigint, $2 account_ids text[]
SELECT
    account_id, ledger_id, name, description, normal_balance, currency, currency_exponent, external_id, metadata,
    created_position, created_at, updated_at, account_status, limits, deleted_at,
    lock_version, posted_debits, posted_credits, pending_debits, pending_credits, balance_position
FROM accounts_with_balances
WHERE ledger_id = $1::bigint AND account_id = ANY ($2::text[]::uuid[])
ORDER BY account_id
