-- When entries were written, which their ids tell too.
-- $1 ledger_id bigint, $2 entry_ids bigint[]
SELECT entry_id, written_at
FROM entries
WHERE ledger_id = $1::bigint AND entry_id = ANY ($2::bigint[])
