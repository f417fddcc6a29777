-- The keys of accounts, in order, for whoever verifies them.
-- $1 ledger_id bigint, $2 after_account_id uuid, $3 row_count bigint
SELECT account_id
FROM accounts
WHERE ledger_id = $1::bigint AND account_id > $2::uuid
ORDER BY account_id
LIMIT $3::bigint
