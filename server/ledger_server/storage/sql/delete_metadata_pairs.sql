-- Metadata that objects have no more: a row goes when nobody of its block has the pair.
-- ANY says again what the join says, because the planner may answer that with a hash of the whole ledger.
-- $1 ledger_id uuid, then columns as array literals, each a text: $2 nouns, $3 keys, $4 value_heads, $5 block_positions,
-- $6 offsets, each row once
WITH gone AS (
    SELECT noun, key, value_head, block_position, offsets
    FROM unnest(
        $2::text::smallint[], $3::text::text[], $4::text::text[], $5::text::bigint[], $6::text::bytea[]
    ) AS r (noun, key, value_head, block_position, offsets)
),
emptied AS (
    DELETE FROM metadata_pairs AS p
    USING gone AS r
    WHERE p.ledger_id = $1::uuid AND p.noun = r.noun AND p.key = r.key AND p.value_head = r.value_head
        AND p.block_position = r.block_position
        AND p.noun = ANY ($2::text::smallint[]) AND p.key = ANY ($3::text::text[])
        AND octet_length(p.offsets) = octet_length(r.offsets)
)
UPDATE metadata_pairs AS p
SET offsets = (
    SELECT string_agg(substring(p.offsets FROM n FOR 1), ''::bytea ORDER BY n)
    FROM generate_series(1, octet_length(p.offsets)) AS n
    WHERE position(substring(p.offsets FROM n FOR 1) IN r.offsets) = 0
)
FROM gone AS r
WHERE p.ledger_id = $1::uuid AND p.noun = r.noun AND p.key = r.key AND p.value_head = r.value_head
    AND p.block_position = r.block_position
    AND p.noun = ANY ($2::text::smallint[]) AND p.key = ANY ($3::text::text[])
    AND octet_length(p.offsets) > octet_length(r.offsets)
