-- Metadata of new entries, by which lists find them; another entry or version of the transaction may have had the same.
-- $1 ledger_id uuid, then columns as array literals, each a text: $2 keys, $3 value_heads, $4 created_positions
INSERT INTO metadata_pairs (ledger_id, noun, key, value_head, created_position)
SELECT $1::uuid, 3, r.key, r.value_head, r.created_position
FROM unnest($2::text::text[], $3::text::text[], $4::text::bigint[]) AS r (key, value_head, created_position)
ON CONFLICT (ledger_id, noun, key, value_head, created_position) DO NOTHING
