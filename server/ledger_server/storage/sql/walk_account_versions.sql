-- The keys of versions of accounts, in order, for whoever verifies them.
-- $1 ledger_id bigint, $2 after_account_id uuid, $3 after_lock_version bigint, $4 row_count bigint
SELECT account_id, lock_version
FROM account_versions
WHERE ledger_id = $1::bigint AND (account_id, lock_version) > ($2::uuid, $3::bigint)
ORDER BY account_id, lock_version
LIMIT $4::bigint
