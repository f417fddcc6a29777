-- Created positions of objects with a key whose value begins in a range of texts, in any order.
-- $1 ledger_id bigint, $2 row_count bigint, $3 noun smallint, $4 key text, $5 lower_bound text,
-- $6 upper_bound text, exclusive
SELECT p.block_position + get_byte(p.offsets, n) AS created_position
FROM metadata_pairs p
CROSS JOIN LATERAL generate_series(0, octet_length(p.offsets) - 1) AS n
WHERE p.ledger_id = $1::bigint AND p.noun = $3::smallint AND p.key = $4::text
    AND p.value_head >= $5::text AND p.value_head < $6::text
LIMIT $2::bigint
