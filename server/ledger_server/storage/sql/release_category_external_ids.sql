-- Sets aside external ids that are about to change hands, so that the order of rows in the next statement does not
-- matter.
-- $1 ledger_id bigint, $2 category_ids text[]
UPDATE categories
SET external_id = NULL
WHERE ledger_id = $1::bigint AND category_id = ANY ($2::text[]::uuid[])
