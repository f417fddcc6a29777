-- The ledgers of one bite that pass the filter, oldest first.
-- A bite is a range of keys with a bounded number of ledgers, so any plan along the range will do.
-- $1 created_at timestamptz, $2 ledger_id uuid, the key before the first; $3 created_at timestamptz, $4 ledger_id uuid,
-- the key of the last; $5 metadata jsonb, $6 row_count bigint; then filters, of which null passes
-- all: $7 metadata_path text, $8 metadata_variables jsonb, $9 ledger_ids text[], $10 names text[], as patterns of ILIKE
SELECT ledger_id, name, description, metadata, created_at, updated_at, closed_before, position, epoch
FROM ledgers
WHERE (created_at, ledger_id) > ($1::timestamptz, $2::uuid)
    AND (created_at, ledger_id) <= ($3::timestamptz, $4::uuid)
    AND ledger_id <> '00000000-0000-0000-0000-000000000000' AND deleted_at IS NULL
    AND metadata @> $5::jsonb
    AND ($7::text IS NULL OR jsonb_path_match(metadata, $7::text::jsonpath, $8::jsonb))
    AND ($9::text[] IS NULL OR ledger_id = ANY ($9::text[]::uuid[]))
    AND ($10::text[] IS NULL OR name ILIKE ANY ($10::text[]))
ORDER BY created_at, ledger_id
LIMIT $6::bigint
