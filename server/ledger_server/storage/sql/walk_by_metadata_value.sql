-- Created positions of objects with a metadata value, or one that begins like it, in created order.
-- One of the two branches is not run. A walk along one index, from any page as from the first: blocks come in order,
-- what is in a block in none, and all but the last block that is reached are read whole. So 256 more than wanted are
-- enough.
-- $1 ledger_id bigint, $2 after_position bigint, $3 descending boolean, $4 row_count bigint,
-- $5 noun smallint, $6 key text, $7 value_head text
(
    SELECT number, number AS created_position
    FROM (
        SELECT p.block_position + get_byte(p.offsets, n) AS number
        FROM metadata_pairs p
        CROSS JOIN LATERAL generate_series(0, octet_length(p.offsets) - 1) AS n
        WHERE $3::boolean AND p.ledger_id = $1::bigint AND p.noun = $5::smallint AND p.key = $6::text
            AND p.value_head = $7::text
            AND p.block_position < $2::bigint AND p.block_position + get_byte(p.offsets, n) < $2::bigint
        ORDER BY p.block_position DESC
        LIMIT $4::bigint + 256
    ) AS near
    ORDER BY number DESC
    LIMIT $4::bigint
)
UNION ALL
(
    SELECT number, number AS created_position
    FROM (
        SELECT p.block_position + get_byte(p.offsets, n) AS number
        FROM metadata_pairs p
        CROSS JOIN LATERAL generate_series(0, octet_length(p.offsets) - 1) AS n
        WHERE NOT $3::boolean AND p.ledger_id = $1::bigint AND p.noun = $5::smallint AND p.key = $6::text
            AND p.value_head = $7::text
            AND p.block_position >= greatest($2::bigint, 0) / 256 * 256
            AND p.block_position + get_byte(p.offsets, n) > $2::bigint
        ORDER BY p.block_position
        LIMIT $4::bigint + 256
    ) AS near
    ORDER BY number
    LIMIT $4::bigint
)
