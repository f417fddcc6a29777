-- Those of some ledgers that pass the filters, oldest first, after a key.
-- The nil ledger, which is the registry of ledgers, is none of the callers'.
-- $1 ledger_ids bigint[], $2 created_at timestamptz, $3 ledger_id bigint, the key, $4 row_count bigint, $5 metadata
-- jsonb; then filters, of which null passes all: $6 metadata_path text, $7 metadata_variables jsonb, $8 names text[],
-- as patterns of ILIKE; lower bounds and exclusive upper bounds, text: $9 and $10 of created_at, $11 and $12 of
-- updated_at
SELECT ledger_id, name, description, metadata, created_at, updated_at, closed_before, position, epoch
FROM ledgers
WHERE ledger_id = ANY ($1::bigint[]) AND (created_at, ledger_id) > ($2::timestamptz, $3::bigint)
    AND ledger_id <> 0 AND deleted_at IS NULL
    AND metadata @> $5::jsonb
    AND ($6::text IS NULL OR jsonb_path_match(metadata, $6::text::jsonpath, $7::jsonb))
    AND ($8::text[] IS NULL OR name ILIKE ANY ($8::text[]))
    AND ($9::text IS NULL OR created_at >= $9::text::timestamptz)
    AND ($10::text IS NULL OR created_at < $10::text::timestamptz)
    AND ($11::text IS NULL OR updated_at >= $11::text::timestamptz)
    AND ($12::text IS NULL OR updated_at < $12::text::timestamptz)
ORDER BY created_at, ledger_id
LIMIT $4::bigint
