-- The keys of transactions at their newest versions, in order, for whoever verifies them.
-- $1 ledger_id bigint, $2 after_transaction_id uuid, $3 after_version bigint, $4 row_count bigint
SELECT transaction_id, version
FROM transactions
WHERE ledger_id = $1::bigint AND transaction_id > $2::uuid AND $3::bigint IS NOT NULL
ORDER BY transaction_id
LIMIT $4::bigint
