-- The metadata of transactions as an event left it, which a version keeps for ever, by the event's position.
-- An event of an entry writes no version of its transaction: what holds is the newest one until then.
-- LIMIT keeps the planner from answering with a hash of all transactions; a transaction has few versions.
-- $1 ledger_id uuid, $2 transaction_ids text[], $3 positions bigint[]
SELECT e.position, written.metadata
FROM unnest($2::text[], $3::bigint[]) AS e (transaction_id, position)
CROSS JOIN LATERAL (
    SELECT each.metadata
    FROM (
        SELECT t.position, t.metadata
        FROM transactions t
        WHERE t.ledger_id = $1::uuid AND t.transaction_id = e.transaction_id::uuid AND t.position <= e.position
        UNION ALL
        SELECT v.position, v.metadata
        FROM transaction_versions v
        WHERE v.ledger_id = $1::uuid AND v.transaction_id = e.transaction_id::uuid AND v.position <= e.position
    ) AS each
    ORDER BY each.position DESC
    LIMIT 1
) AS written
