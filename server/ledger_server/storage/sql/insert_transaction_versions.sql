-- Versions that were replaced, as they were.
-- $1 ledger_id uuid, then text[], one element a version: $2 transaction_ids, $3 versions, $4 statuses, $5 archived_reasons,
-- $6 entry_counts, $7 first_entry_ids, $8 positions, $9 created_positions, $10 created_ats, $11 updated_ats,
-- $12 effective_ats, $13 posted_ats, $14 descriptions, $15 external_ids, $16 metadatas, $17 expires_ats, $18 reverses_ids,
-- $19 partially_posts_ids
INSERT INTO transaction_versions (
    ledger_id, transaction_id, version, status, archived_reason, entry_count, first_entry_id, position,
    created_position, created_at, updated_at, effective_at, posted_at, description, external_id, metadata,
    expires_at, reverses_id, partially_posts_id
)
SELECT
    $1::uuid, r.transaction_id::uuid, r.version::bigint, r.status::smallint, r.archived_reason::smallint,
    r.entry_count::smallint, r.first_entry_id::uuid, r.position::bigint, r.created_position::bigint,
    r.created_at::timestamptz, r.updated_at::timestamptz, r.effective_at::timestamptz, r.posted_at::timestamptz,
    r.description, r.external_id, r.metadata::jsonb, r.expires_at::timestamptz, r.reverses_id::uuid,
    r.partially_posts_id::uuid
FROM unnest(
    $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
    $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[], $19::text[]
) AS r (
    transaction_id, version, status, archived_reason, entry_count, first_entry_id, position, created_position,
    created_at, updated_at, effective_at, posted_at, description, external_id, metadata, expires_at, reverses_id,
    partially_posts_id
)
