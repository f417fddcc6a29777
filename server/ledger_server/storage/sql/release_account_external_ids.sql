-- Sets aside external ids that are about to change hands, so that the order of rows in the next statement does not
-- matter.
-- $1 ledger_id bigint, $2 account_ids text[]
UPDATE accounts
SET external_id = NULL
WHERE ledger_id = $1::bigint AND account_id = ANY ($2::text[]::uuid[])
