-- Transactions, from the version before to their newest.
-- ANY says again what the join says, because the planner may answer that with a hash of the whole ledger.
-- $1 ledger_id uuid, then text[], one element a transaction: $2 transaction_ids, $3 versions, $4 statuses,
-- $5 archived_reasons, $6 entry_counts, $7 first_entry_ids, $8 positions, $9 updated_ats, $10 effective_ats,
-- $11 posted_ats, $12 descriptions, $13 external_ids, $14 metadatas, $15 expires_ats
UPDATE transactions AS t
SET version = r.version::bigint, status = r.status::smallint, archived_reason = r.archived_reason::smallint,
    entry_count = r.entry_count::smallint, first_entry_id = r.first_entry_id::uuid, position = r.position::bigint,
    updated_at = r.updated_at::timestamptz, effective_at = r.effective_at::timestamptz,
    posted_at = r.posted_at::timestamptz, description = r.description, external_id = r.external_id,
    metadata = r.metadata::jsonb, expires_at = r.expires_at::timestamptz
FROM unnest(
    $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
    $11::text[], $12::text[], $13::text[], $14::text[], $15::text[]
) AS r (
    transaction_id, version, status, archived_reason, entry_count, first_entry_id, position, updated_at, effective_at,
    posted_at, description, external_id, metadata, expires_at
)
WHERE t.ledger_id = $1::uuid AND t.transaction_id = r.transaction_id::uuid
    AND t.transaction_id = ANY ($2::text[]::uuid[])
