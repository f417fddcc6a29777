-- Created positions of pending transactions, and of those archived for some reasons, in any order.
-- $1 ledger_id bigint, $2 row_count bigint, $3 archived_reasons text[], 0 for pending ones
SELECT created_position
FROM transactions
WHERE ledger_id = $1::bigint AND archived_reason = ANY ($3::text[]::smallint[]) AND posted_at IS NULL
LIMIT $2::bigint
