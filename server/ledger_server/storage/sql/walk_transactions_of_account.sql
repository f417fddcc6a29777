-- Created positions of the transactions that moved an account, by the lock_versions at which they did.
-- One of the two branches is not run. The LIMIT 1, which cuts nothing off, tells the planner how few rows there are.
-- $1 ledger_id bigint, $2 after_version bigint, $3 descending boolean, $4 row_count bigint, $5 account_id uuid
(
    SELECT v.lock_version AS number, t.created_position
    FROM account_versions v
    CROSS JOIN LATERAL (
        SELECT created_position
        FROM transactions
        WHERE ledger_id = $1::bigint AND transaction_id = v.transaction_id
        LIMIT 1
    ) AS t
    WHERE $3::boolean AND v.ledger_id = $1::bigint AND v.account_id = $5::uuid AND v.lock_version < $2::bigint
        AND v.lock_version > 0
    ORDER BY v.lock_version DESC
    LIMIT $4::bigint
)
UNION ALL
(
    SELECT v.lock_version AS number, t.created_position
    FROM account_versions v
    CROSS JOIN LATERAL (
        SELECT created_position
        FROM transactions
        WHERE ledger_id = $1::bigint AND transaction_id = v.transaction_id
        LIMIT 1
    ) AS t
    WHERE NOT $3::boolean AND v.ledger_id = $1::bigint AND v.account_id = $5::uuid AND v.lock_version > $2::bigint
        AND v.lock_version > 0
    ORDER BY v.lock_version
    LIMIT $4::bigint
)
