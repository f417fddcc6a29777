-- Gives ledgers new epochs; lanes and streams of running servers notice by themselves.
-- $1 ledger_ids bigint[], $2 epochs uuid[], one for each
UPDATE ledgers
SET epoch = given.epoch
FROM unnest($1::bigint[], $2::uuid[]) AS given (ledger_id, epoch)
WHERE ledgers.ledger_id = given.ledger_id
