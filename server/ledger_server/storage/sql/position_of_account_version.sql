-- The position of the command that wrote a version of an account.
-- $1 ledger_id uuid, $2 account_id uuid, $3 lock_version bigint
SELECT position
FROM account_versions
WHERE ledger_id = $1::uuid AND account_id = $2::uuid AND lock_version = $3::bigint
