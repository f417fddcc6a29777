-- Entries of 0 of pending transactions: that something is pending on an account its counters do not tell then. They are
-- few.
CREATE INDEX entries_pending_zeroes ON account_lines (ledger_id, account_id) WHERE amount = 0 AND status = 1;
