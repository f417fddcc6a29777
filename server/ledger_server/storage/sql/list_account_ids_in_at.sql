-- The ids of the accounts that were directly in a category at a position, a page after an id.
-- $1 ledger_id uuid, $2 category_id uuid, $3 after_id uuid, $4 position bigint, $5 limit bigint
SELECT account_id
FROM category_accounts
WHERE ledger_id = $1::uuid AND category_id = $2::uuid AND account_id > $3::uuid AND from_position <= $4::bigint
    AND (until_position IS NULL OR until_position > $4::bigint)
ORDER BY account_id
LIMIT $5::bigint
