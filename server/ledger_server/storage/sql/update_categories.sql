-- What is not money about categories.
-- $1 ledger_id uuid, then text[], one element a category: $2 category_ids, $3 names, $4 descriptions, $5 external_ids,
-- $6 metadatas, $7 deleted_positions, $8 deleted_ats; $9 now timestamptz
UPDATE categories AS c
SET name = r.name, description = r.description, external_id = r.external_id, metadata = r.metadata::jsonb,
    deleted_position = r.deleted_position::bigint, deleted_at = r.deleted_at::timestamptz, updated_at = $9::timestamptz
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
    AS r (category_id, name, description, external_id, metadata, deleted_position, deleted_at)
WHERE c.ledger_id = $1::uuid AND c.category_id = r.category_id::uuid
    AND c.category_id = ANY ($2::text[]::uuid[])
