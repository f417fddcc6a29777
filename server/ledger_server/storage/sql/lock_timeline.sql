-- How far an account's versions are folded, and its newest version; no row if another server is folding it.
-- $1 ledger_id bigint, $2 account_id uuid
SELECT
    t.folded_version, t.run_starts,
    (
        SELECT lock_version
        FROM account_versions
        WHERE ledger_id = $1::bigint AND account_id = $2::uuid
        ORDER BY lock_version DESC
        LIMIT 1
    ) AS lock_version
FROM account_timelines t
WHERE t.ledger_id = $1::bigint AND t.account_id = $2::uuid
FOR UPDATE SKIP LOCKED
