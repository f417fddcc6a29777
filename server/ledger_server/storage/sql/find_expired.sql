-- Pending transactions whose time has come, longest overdue first; of all ledgers, for the sweep.
-- $1 limit bigint
SELECT ledger_id, transaction_id
FROM transactions
WHERE status = 1 AND expires_at IS NOT NULL AND expires_at <= clock_timestamp()
ORDER BY expires_at
LIMIT $1::bigint
