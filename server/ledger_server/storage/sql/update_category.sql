-- What is not money about a category.
-- $1 ledger_id bigint, $2 category_id uuid, $3 name text, $4 description text, $5 external_id text, $6 metadata jsonb,
-- $7 deleted_position bigint, $8 deleted_at timestamptz, $9 now timestamptz
UPDATE categories
SET name = $3::text, description = $4::text, external_id = $5::text, metadata = $6::jsonb,
    deleted_position = $7::bigint, deleted_at = $8::timestamptz, updated_at = $9::timestamptz
WHERE ledger_id = $1::bigint AND category_id = $2::uuid
