-- The keys of replaced versions of transactions, in order, for whoever verifies them.
-- $1 ledger_id bigint, $2 after_transaction_id uuid, $3 after_version bigint, $4 row_count bigint
SELECT transaction_id, version
FROM transaction_versions
WHERE ledger_id = $1::bigint AND (transaction_id, version) > ($2::uuid, $3::bigint)
ORDER BY transaction_id, version
LIMIT $4::bigint
