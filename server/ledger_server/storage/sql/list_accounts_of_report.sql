-- What a trial balance says of accounts beside their balances, oldest first, of those that were there at a position.
-- $1 ledger_id uuid, $2 after_position bigint, $3 last_position bigint, $4 row_count bigint
SELECT account_id, external_id, name, normal_balance, currency, currency_exponent, created_position
FROM accounts
WHERE ledger_id = $1::uuid AND created_position > $2::bigint AND created_position <= $3::bigint
ORDER BY created_position
LIMIT $4::bigint
