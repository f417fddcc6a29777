-- Transactions, from the version before to their newest.
-- ANY says again what the join says, because the planner may answer that with a hash of the whole ledger.
-- $1 ledger_id uuid, then columns as array literals, each a text
--   $2 transaction_ids, $3 versions, $4 statuses, $5 archived_reasons, $6 entry_counts, $7 first_entry_ids,
--   $8 positions, $9 created_positions, $10 created_ats, $11 updated_ats, $12 effective_ats, $13 posted_ats,
--   $14 descriptions, $15 external_ids, $16 metadatas, $17 expires_ats, $18 reverses_ids, $19 partially_posts_ids,
--   $20 amounts
UPDATE transactions AS t
SET
    version = r.version, status = r.status, archived_reason = r.archived_reason, entry_count = r.entry_count,
    first_entry_id = r.first_entry_id, position = r.position, updated_at = r.updated_at,
    effective_at = r.effective_at, posted_at = r.posted_at, description = r.description,
    external_id = r.external_id, metadata = r.metadata, expires_at = r.expires_at, amount = r.amount
FROM unnest(
    $2::text::uuid[], $3::text::bigint[], $4::text::smallint[], $5::text::smallint[], $6::text::smallint[],
    $7::text::uuid[], $8::text::bigint[], $9::text::bigint[], $10::text::timestamptz[], $11::text::timestamptz[],
    $12::text::timestamptz[], $13::text::timestamptz[], $14::text::text[], $15::text::text[], $16::text::jsonb[],
    $17::text::timestamptz[], $18::text::uuid[], $19::text::uuid[], $20::text::numeric[]
) AS r (
    transaction_id, version, status, archived_reason, entry_count, first_entry_id, position, created_position,
    created_at, updated_at, effective_at, posted_at, description, external_id, metadata, expires_at, reverses_id,
    partially_posts_id, amount
)
WHERE t.ledger_id = $1::uuid AND t.transaction_id = r.transaction_id
    AND t.transaction_id = ANY ($2::text::uuid[])
