-- A range of an account's versions, oldest first. Lock_versions have no gaps, so the range bounds the work.
-- $1 ledger_id bigint, $2 account_id uuid, $3 first_version bigint, $4 last_version bigint
SELECT
    lock_version, position, written_at, transaction_id, posted_debits, posted_credits, pending_debits, pending_credits
FROM account_versions
WHERE ledger_id = $1::bigint AND account_id = $2::uuid AND lock_version BETWEEN $3::bigint AND $4::bigint
ORDER BY lock_version
