-- Where a ledger's log stands, with the digest that covers all of it.
-- $1 ledger_id bigint
SELECT position, digest, epoch
FROM ledgers
WHERE ledger_id = $1::bigint
