-- The ids of ledgers, the registry of them included, in order, a page at a time.
-- $1 after_ledger_id bigint, null for the first page, $2 count bigint
SELECT ledger_id
FROM ledgers
WHERE $1::bigint IS NULL OR ledger_id > $1::bigint
ORDER BY ledger_id
LIMIT $2::bigint
