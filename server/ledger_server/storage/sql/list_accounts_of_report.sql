-- What a trial balance says of accounts beside their balances, oldest first, of those that were there at a position,
-- and at a time.
-- $1 ledger_id bigint, $2 after_position bigint, $3 last_position bigint, $4 row_count bigint,
-- $5 known_at timestamptz, null: at any
SELECT account_id, external_id, name, normal_balance, currency, currency_exponent, created_position
FROM accounts
WHERE ledger_id = $1::bigint AND created_position > $2::bigint AND created_position <= $3::bigint
    AND ($5::timestamptz IS NULL OR created_at <= $5::timestamptz)
ORDER BY created_position
LIMIT $4::bigint
