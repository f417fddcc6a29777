-- Created positions of pending transactions, or of those archived for a reason, in created order.
-- One of the two branches is not run. A walk along one index, from any page as from the first.
-- $1 ledger_id bigint, $2 after_position bigint, $3 descending boolean, $4 row_count bigint,
-- $5 archived_reason smallint, 0 for pending ones
(
    SELECT created_position AS number, created_position
    FROM transactions
    WHERE $3::boolean AND ledger_id = $1::bigint AND archived_reason = $5::smallint AND posted_at IS NULL
        AND created_position < $2::bigint
    ORDER BY created_position DESC
    LIMIT $4::bigint
)
UNION ALL
(
    SELECT created_position AS number, created_position
    FROM transactions
    WHERE NOT $3::boolean AND ledger_id = $1::bigint AND archived_reason = $5::smallint AND posted_at IS NULL
        AND created_position > $2::bigint
    ORDER BY created_position
    LIMIT $4::bigint
)
