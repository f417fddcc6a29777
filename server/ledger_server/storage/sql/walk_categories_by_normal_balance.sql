-- Created positions of categories of a normality in created order.
-- One of the two branches is not run. A walk along one index, from any page as from the first.
-- $1 ledger_id bigint, $2 after_position bigint, $3 descending boolean, $4 row_count bigint,
-- $5 normal_balance smallint
(
    SELECT created_position AS number, created_position
    FROM categories
    WHERE $3::boolean AND ledger_id = $1::bigint AND normal_balance = $5::smallint
        AND created_position < $2::bigint
    ORDER BY created_position DESC
    LIMIT $4::bigint
)
UNION ALL
(
    SELECT created_position AS number, created_position
    FROM categories
    WHERE NOT $3::boolean AND ledger_id = $1::bigint AND normal_balance = $5::smallint
        AND created_position > $2::bigint
    ORDER BY created_position
    LIMIT $4::bigint
)
