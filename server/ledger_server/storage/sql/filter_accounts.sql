-- The accounts of one bite that pass the filters, oldest first.
-- A bite is a range of created positions with a bounded number of accounts, so any plan along the range will do.
-- $1 ledger_id uuid, $2 after_position bigint, $3 last_position bigint, $4 currency text or null,
-- $5 normal_balance smallint or null, $6 metadata jsonb, $7 row_count bigint
SELECT
    account_id, ledger_id, name, description, normal_balance, currency, currency_exponent, external_id, metadata,
    created_position, created_at, updated_at, account_status, limits,
    lock_version, posted_debits, posted_credits, pending_debits, pending_credits, balance_position
FROM accounts_with_balances
WHERE ledger_id = $1::uuid AND created_position > $2::bigint AND created_position <= $3::bigint
    AND ($4::text IS NULL OR currency = $4::text)
    AND ($5::smallint IS NULL OR normal_balance = $5::smallint)
    AND metadata @> $6::jsonb
ORDER BY created_position
LIMIT $7::bigint
