-- Created positions of objects with a key whose value begins in a range of texts, in any order.
-- $1 ledger_id uuid, $2 row_count bigint, $3 noun smallint, $4 key text, $5 lower_bound text,
-- $6 upper_bound text, exclusive
SELECT created_position
FROM metadata_pairs
WHERE ledger_id = $1::uuid AND noun = $3::smallint AND key = $4::text
    AND value_head >= $5::text AND value_head < $6::text
LIMIT $2::bigint
