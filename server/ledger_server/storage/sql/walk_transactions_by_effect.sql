-- Created positions of transactions in effective order, after a key and within a range of effective times.
-- One of the two branches is not run. Times are texts, as they may be infinite.
-- $1 ledger_id bigint, $2 after_time text, $3 after_position bigint, $4 descending boolean, $5 row_count bigint,
-- $6 lower_bound text, $7 upper_bound text, exclusive
(
    SELECT (extract(epoch FROM effective_at) * 1000000)::bigint AS number, created_position
    FROM transactions
    WHERE $4::boolean AND ledger_id = $1::bigint
        AND effective_at >= $6::text::timestamptz AND effective_at < $7::text::timestamptz
        AND (effective_at, created_position) < ($2::text::timestamptz, $3::bigint)
    ORDER BY effective_at DESC, created_position DESC
    LIMIT $5::bigint
)
UNION ALL
(
    SELECT (extract(epoch FROM effective_at) * 1000000)::bigint AS number, created_position
    FROM transactions
    WHERE NOT $4::boolean AND ledger_id = $1::bigint
        AND effective_at >= $6::text::timestamptz AND effective_at < $7::text::timestamptz
        AND (effective_at, created_position) > ($2::text::timestamptz, $3::bigint)
    ORDER BY effective_at, created_position
    LIMIT $5::bigint
)
