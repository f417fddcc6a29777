-- The keys of entries of which something is reversed, in order, for whoever verifies them.
-- $1 ledger_id bigint, $2 after_entry_id bigint, $3 row_count bigint
SELECT entry_id
FROM entry_reversals
WHERE ledger_id = $1::bigint AND entry_id > $2::bigint
ORDER BY entry_id
LIMIT $3::bigint
