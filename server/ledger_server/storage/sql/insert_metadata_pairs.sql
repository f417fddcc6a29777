-- Metadata that objects have now.
-- $1 ledger_id uuid, then columns as array literals, each a text: $2 nouns, $3 keys, $4 value_heads, $5 created_positions
INSERT INTO metadata_pairs (ledger_id, noun, key, value_head, created_position)
SELECT $1::uuid, r.noun, r.key, r.value_head, r.created_position
FROM unnest($2::text::smallint[], $3::text::text[], $4::text::text[], $5::text::bigint[])
    AS r (noun, key, value_head, created_position)
