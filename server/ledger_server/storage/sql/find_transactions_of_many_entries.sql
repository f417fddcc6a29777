-- Created positions of transactions with more than two entries, whose amounts may be others than the transaction's.
-- $1 ledger_id bigint, $2 row_count bigint
SELECT created_position
FROM transactions
WHERE ledger_id = $1::bigint AND entry_count > 2
LIMIT $2::bigint
