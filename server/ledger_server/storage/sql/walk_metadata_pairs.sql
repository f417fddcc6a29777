-- The keys of pairs of metadata, in order, for whoever verifies them.
-- $1 ledger_id bigint, $2 after_noun bigint, $3 after_key text, $4 after_value_head text,
-- $5 after_block_position bigint, $6 row_count bigint
SELECT noun, key, value_head, block_position
FROM metadata_pairs
WHERE ledger_id = $1::bigint
    AND (noun, key, value_head, block_position) > ($2::bigint::smallint, $3::text, $4::text, $5::bigint)
ORDER BY noun, key, value_head, block_position
LIMIT $6::bigint
