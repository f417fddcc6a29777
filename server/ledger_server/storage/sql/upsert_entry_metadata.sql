-- Metadata of entries as it is now, and what lists find them by; what they had before stays there.
-- The LIMIT 1, which cuts nothing off, tells the planner how few rows there are.
-- $1 ledger_id bigint, $2 entry_ids text[], $3 metadatas text[], $4 positions text[], $5 now timestamptz
WITH new_pairs AS (
    INSERT INTO metadata_pairs AS had (ledger_id, noun, key, value_head, block_position, offsets)
    SELECT
        $1::bigint, 3, p.key, left(p.value, 100), t.created_position / 256 * 256,
        string_agg(DISTINCT set_byte('\x00'::bytea, 0, (t.created_position % 256)::integer), ''::bytea)
    FROM unnest($2::text[], $3::text[]) AS r (entry_id, metadata)
    CROSS JOIN LATERAL (
        SELECT t.created_position
        FROM entries e
        JOIN transactions t ON t.ledger_id = $1::bigint AND t.transaction_id = e.transaction_id
        WHERE e.ledger_id = $1::bigint AND e.entry_id = r.entry_id::bigint
        LIMIT 1
    ) AS t
    CROSS JOIN LATERAL jsonb_each_text(r.metadata::jsonb) AS p (key, value)
    GROUP BY p.key, left(p.value, 100), t.created_position / 256 * 256
    ON CONFLICT (ledger_id, noun, key, value_head, block_position) DO UPDATE
    SET offsets = had.offsets || coalesce(
        (
            SELECT string_agg(substring(excluded.offsets FROM n FOR 1), ''::bytea)
            FROM generate_series(1, octet_length(excluded.offsets)) AS n
            WHERE position(substring(excluded.offsets FROM n FOR 1) IN had.offsets) = 0
        ),
        ''
    )
)
INSERT INTO entry_metadata (ledger_id, entry_id, metadata, updated_at, position)
SELECT $1::bigint, r.entry_id::bigint, r.metadata::jsonb, $5::timestamptz, r.position::bigint
FROM unnest($2::text[], $3::text[], $4::text[]) AS r (entry_id, metadata, position)
ON CONFLICT (ledger_id, entry_id) DO UPDATE
SET metadata = excluded.metadata, updated_at = excluded.updated_at, position = excluded.position
