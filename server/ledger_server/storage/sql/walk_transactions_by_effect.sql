-- Created positions of transactions in effective order, after a key and within a range of effective times.
-- Two walks are merged: along the index of those whose effect is at another time than their creation, and along created
-- order through the others. Of these the index only knows among which 64 positions they are, so 128 more are taken: of
-- the first 64 some may be before the key, and of the last some are left out, which others are sorted before.
-- Ascending it begins at the lower bound, if that is behind the key: a comparison of rows hides the bound from the
-- index.
-- Of the two branches of each walk one is not run. Times are texts, as they may be infinite.
-- $1 ledger_id bigint, $2 after_time text, $3 after_position bigint, $4 bound bigint: the others behind the key are
-- those from this created position on, or, descending, those before it, $5 descending boolean,
-- $6 row_count bigint, $7 lower_bound text, $8 upper_bound text, exclusive,
-- $9 low bigint, $10 high bigint, exclusive: the created positions of that time
SELECT (extract(epoch FROM effective_at) * 1000000)::bigint AS number, created_position
FROM (
    (
        SELECT effective_at, created_position
        FROM transactions
        WHERE $5::boolean AND ledger_id = $1::bigint AND effective_at <> created_at
            AND effective_at >= $7::text::timestamptz AND effective_at < $8::text::timestamptz
            AND (effective_at, created_position) < ($2::text::timestamptz, $3::bigint)
        ORDER BY effective_at DESC, created_position DESC
        LIMIT $6::bigint
    )
    UNION ALL
    (
        SELECT effective_at, created_position
        FROM transactions
        WHERE NOT $5::boolean AND ledger_id = $1::bigint AND effective_at <> created_at
            AND effective_at >= $7::text::timestamptz AND effective_at < $8::text::timestamptz
            AND (effective_at, created_position) > (
                greatest($2::text::timestamptz, $7::text::timestamptz),
                CASE WHEN $2::text::timestamptz >= $7::text::timestamptz THEN $3::bigint ELSE 0 END
            )
        ORDER BY effective_at, created_position
        LIMIT $6::bigint
    )
    UNION ALL
    (
        SELECT effective_at, created_position
        FROM (
            SELECT effective_at, created_position
            FROM transactions
            WHERE $5::boolean AND ledger_id = $1::bigint AND effective_at = created_at
                AND created_position / 64 >= $9::bigint / 64
                AND created_position / 64 <= (least($4::bigint, $10::bigint) - 1) / 64
            ORDER BY created_position / 64 DESC
            LIMIT $6::bigint + 128
        ) AS newest
        WHERE created_position >= $9::bigint AND created_position < least($4::bigint, $10::bigint)
    )
    UNION ALL
    (
        SELECT effective_at, created_position
        FROM (
            SELECT effective_at, created_position
            FROM transactions
            WHERE NOT $5::boolean AND ledger_id = $1::bigint AND effective_at = created_at
                AND created_position / 64 >= greatest($4::bigint, $9::bigint) / 64
                AND created_position / 64 <= ($10::bigint - 1) / 64
            ORDER BY created_position / 64
            LIMIT $6::bigint + 128
        ) AS oldest
        WHERE created_position >= greatest($4::bigint, $9::bigint) AND created_position < $10::bigint
    )
) AS found
ORDER BY CASE WHEN NOT $5::boolean THEN effective_at END, CASE WHEN $5::boolean THEN effective_at END DESC,
    CASE WHEN $5::boolean THEN - created_position ELSE created_position END
LIMIT $6::bigint
