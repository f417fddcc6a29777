-- Pending transactions whose time has come, longest overdue first; of all ledgers, for the sweep, but some.
-- A time that stands still within the statement, or the index could not be searched for it. The ledgers left out may be
-- many: NOT IN makes a hash of them, ALL would go through them for each row.
-- $1 limit bigint, $2 ledger_ids that are left out bigint[]
SELECT ledger_id, transaction_id, entry_count
FROM transactions
WHERE status = 1 AND expires_at IS NOT NULL AND expires_at <= statement_timestamp()
    AND ledger_id NOT IN (SELECT unnest($2::bigint[]))
ORDER BY expires_at
LIMIT $1::bigint
