-- Sets aside external ids that are about to change hands, so that the order of rows in the next statement does not
-- matter.
-- $1 ledger_id uuid, $2 transaction_ids text[]
UPDATE transactions
SET external_id = NULL
WHERE ledger_id = $1::uuid AND transaction_id = ANY ($2::text[]::uuid[])
