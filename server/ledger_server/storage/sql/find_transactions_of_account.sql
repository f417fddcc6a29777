-- Created positions of the transactions that moved an account, in any order, some perhaps several times.
-- The LIMIT 1, which cuts nothing off, tells the planner how few rows there are.
-- $1 ledger_id bigint, $2 row_count bigint, $3 account_id uuid
SELECT t.created_position
FROM account_versions v
CROSS JOIN LATERAL (
    SELECT created_position
    FROM transactions
    WHERE ledger_id = $1::bigint AND transaction_id = v.transaction_id
    LIMIT 1
) AS t
WHERE v.ledger_id = $1::bigint AND v.account_id = $3::uuid
LIMIT $2::bigint
