-- A ledger's epoch as it is now, also of one that was deleted.
-- $1 ledger_id uuid
SELECT epoch FROM ledgers WHERE ledger_id = $1::uuid
