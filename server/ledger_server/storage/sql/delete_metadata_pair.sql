-- Metadata that objects of one block have no more: the row goes when nobody of its block has the pair.
-- $1 ledger_id bigint, $2 noun smallint, $3 key text, $4 value_head text, $5 block_position bigint, $6 offsets bytea
WITH emptied AS (
    DELETE FROM metadata_pairs
    WHERE ledger_id = $1::bigint AND noun = $2::smallint AND key = $3::text AND value_head = $4::text
        AND block_position = $5::bigint AND octet_length(offsets) = octet_length($6::bytea)
)
UPDATE metadata_pairs AS p
SET offsets = (
    SELECT string_agg(substring(p.offsets FROM n FOR 1), ''::bytea ORDER BY n)
    FROM generate_series(1, octet_length(p.offsets)) AS n
    WHERE position(substring(p.offsets FROM n FOR 1) IN $6::bytea) = 0
)
WHERE p.ledger_id = $1::bigint AND p.noun = $2::smallint AND p.key = $3::text AND p.value_head = $4::text
    AND p.block_position = $5::bigint AND octet_length(p.offsets) > octet_length($6::bytea)
