-- Metadata that objects have no more.
-- ANY says again what the join says, because the planner may answer that with a hash of the whole ledger.
-- $1 ledger_id uuid, then columns as array literals, each a text: $2 nouns, $3 keys, $4 value_heads, $5 created_positions
DELETE FROM metadata_pairs AS p
USING unnest($2::text::smallint[], $3::text::text[], $4::text::text[], $5::text::bigint[])
    AS r (noun, key, value_head, created_position)
WHERE p.ledger_id = $1::uuid AND p.noun = r.noun AND p.key = r.key AND p.value_head = r.value_head
    AND p.created_position = r.created_position
    AND p.noun = ANY ($2::text::smallint[]) AND p.key = ANY ($3::text::text[])
