-- Created positions of transactions in a range of effective times, in any order: those whose effect is at another time
-- than their creation, and the others. Of these the index only knows among which 64 positions they are, so 128 more are
-- taken: of the first and last 64 some may be out of the range.
-- $1 ledger_id bigint, $2 row_count bigint, $3 lower_bound text, $4 upper_bound text, exclusive,
-- $5 low bigint, $6 high bigint, exclusive: the created positions of that time
SELECT created_position
FROM (
    (
        SELECT created_position
        FROM transactions
        WHERE ledger_id = $1::bigint AND effective_at <> created_at
            AND effective_at >= $3::text::timestamptz AND effective_at < $4::text::timestamptz
        LIMIT $2::bigint
    )
    UNION ALL
    (
        SELECT created_position
        FROM (
            SELECT created_position
            FROM transactions
            WHERE ledger_id = $1::bigint AND effective_at = created_at
                AND created_position / 64 >= $5::bigint / 64 AND created_position / 64 <= ($6::bigint - 1) / 64
            LIMIT $2::bigint + 128
        ) AS near
        WHERE created_position >= $5::bigint AND created_position < $6::bigint
    )
) AS found
LIMIT $2::bigint
