-- Metadata of new entries, by which lists find them; another entry or version of the transaction may have had the same.
-- $1 ledger_id uuid, then columns as array literals, each a text: $2 nouns, $3 keys, $4 value_heads, $5 block_positions,
-- $6 offsets, each row once
INSERT INTO metadata_pairs AS p (ledger_id, noun, key, value_head, block_position, offsets)
SELECT $1::uuid, r.noun, r.key, r.value_head, r.block_position, r.offsets
FROM unnest(
    $2::text::smallint[], $3::text::text[], $4::text::text[], $5::text::bigint[], $6::text::bytea[]
) AS r (noun, key, value_head, block_position, offsets)
ON CONFLICT (ledger_id, noun, key, value_head, block_position) DO UPDATE
SET offsets = p.offsets || coalesce(
    (
        SELECT string_agg(substring(excluded.offsets FROM n FOR 1), ''::bytea)
        FROM generate_series(1, octet_length(excluded.offsets)) AS n
        WHERE position(substring(excluded.offsets FROM n FOR 1) IN p.offsets) = 0
    ),
    ''
)
