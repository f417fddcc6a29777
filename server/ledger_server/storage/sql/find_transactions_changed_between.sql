-- Created positions of transactions that were changed in a range of time: those changed after their creation, by that
-- index, and those created in it, who are more than were asked for.
-- $1 ledger_id bigint, $2 row_count bigint, $3 lower_bound text, $4 upper_bound text, exclusive,
-- $5 low bigint, $6 high bigint, exclusive: the created positions of that time
SELECT created_position
FROM (
    (
        SELECT created_position
        FROM transactions
        WHERE ledger_id = $1::bigint AND version > 0
            AND updated_at >= $3::text::timestamptz AND updated_at < $4::text::timestamptz
        LIMIT $2::bigint
    )
    UNION ALL
    (
        SELECT created_position
        FROM transactions
        WHERE ledger_id = $1::bigint AND created_position >= $5::bigint AND created_position < $6::bigint
        LIMIT $2::bigint
    )
) AS found
LIMIT $2::bigint
