-- The ids of the accounts that were there at a position, a page after an id.
-- $1 ledger_id bigint, $2 after_id uuid, $3 position bigint, $4 limit bigint
SELECT account_id
FROM accounts
WHERE ledger_id = $1::bigint AND account_id > $2::uuid AND created_position <= $3::bigint
ORDER BY account_id
LIMIT $4::bigint
