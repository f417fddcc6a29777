-- Created positions of the transactions that moved one of some accounts, in any order, some perhaps several times.
-- The LIMIT 1, which cuts nothing off, tells the planner how few rows there are.
-- $1 ledger_id bigint, $2 row_count bigint, $3 account_ids text[]
SELECT t.created_position
FROM account_versions v
CROSS JOIN LATERAL (
    SELECT created_position
    FROM transactions
    WHERE ledger_id = $1::bigint AND transaction_id = v.transaction_id
    LIMIT 1
) AS t
WHERE v.ledger_id = $1::bigint AND v.account_id = ANY ($3::text[]::uuid[])
LIMIT $2::bigint
