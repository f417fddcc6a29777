-- Accounts that left categories.
-- ANY says again what the join says, because the planner may answer that with a hash of the whole ledger.
-- $1 ledger_id uuid, then text[], one element a membership: $2 category_ids, $3 account_ids, $4 until_positions
UPDATE category_accounts AS m
SET until_position = r.until_position::bigint
FROM unnest($2::text[], $3::text[], $4::text[]) AS r (category_id, account_id, until_position)
WHERE m.ledger_id = $1::uuid AND m.category_id = r.category_id::uuid AND m.account_id = r.account_id::uuid
    AND m.category_id = ANY ($2::text[]::uuid[]) AND m.account_id = ANY ($3::text[]::uuid[]) AND m.until_position IS NULL
