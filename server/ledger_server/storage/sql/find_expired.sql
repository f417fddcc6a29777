-- Pending transactions whose time has come, longest overdue first; of all ledgers, for the sweep.
-- A time that stands still within the statement, or the index could not be searched for it.
-- $1 limit bigint
SELECT ledger_id, transaction_id
FROM transactions
WHERE status = 1 AND expires_at IS NOT NULL AND expires_at <= statement_timestamp()
ORDER BY expires_at
LIMIT $1::bigint
