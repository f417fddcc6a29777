-- Accounts after a created position, oldest first.
-- No filter, so that no plan is better than walking account_created_position_unique until LIMIT; see filter_accounts.sql.
-- $1 ledger_id uuid, $2 after_position bigint, $3 row_count bigint
SELECT
    account_id, ledger_id, name, description, normal_balance, currency, currency_exponent, external_id, metadata,
    created_position, created_at, updated_at, account_status, limits,
    lock_version, posted_debits, posted_credits, pending_debits, pending_credits, balance_position
FROM accounts_with_balances
WHERE ledger_id = $1::uuid AND created_position > $2::bigint
ORDER BY created_position
LIMIT $3::bigint
