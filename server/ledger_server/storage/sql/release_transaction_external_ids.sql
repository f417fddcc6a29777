-- Sets aside external ids that are about to change hands, so that the order of rows in the next statement does not
-- matter.
-- $1 ledger_id bigint, $2 transaction_ids text[]
UPDATE transactions
SET external_id = NULL
WHERE ledger_id = $1::bigint AND transaction_id = ANY ($2::text[]::uuid[])
