-- Transactions, from the version before to their newest.
-- All are there already: ON CONFLICT finds each by the primary key, whatever the planner believes, where a join may hold
-- each against each, or read the whole ledger.
-- $1 ledger_id uuid, then columns as array literals, each a text
--   $2 transaction_ids, $3 versions, $4 statuses, $5 archived_reasons, $6 entry_counts, $7 first_entry_ids,
--   $8 positions, $9 created_positions, $10 created_ats, $11 updated_ats, $12 effective_ats, $13 posted_ats,
--   $14 descriptions, $15 external_ids, $16 metadatas, $17 expires_ats, $18 reverses_ids, $19 partially_posts_ids,
--   $20 amounts
INSERT INTO transactions AS t (
    ledger_id, transaction_id, version, status, archived_reason, entry_count, first_entry_id, position,
    created_position, created_at, updated_at, effective_at, posted_at, description, external_id, metadata,
    expires_at, reverses_id, partially_posts_id, amount
)
SELECT
    $1::uuid, r.transaction_id, r.version, r.status, r.archived_reason, r.entry_count, r.first_entry_id, r.position,
    r.created_position, r.created_at, r.updated_at, r.effective_at, r.posted_at, r.description, r.external_id,
    r.metadata, r.expires_at, r.reverses_id, r.partially_posts_id, r.amount
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
ON CONFLICT (ledger_id, transaction_id) DO UPDATE
SET
    version = excluded.version, status = excluded.status, archived_reason = excluded.archived_reason,
    entry_count = excluded.entry_count, first_entry_id = excluded.first_entry_id, position = excluded.position,
    updated_at = excluded.updated_at, effective_at = excluded.effective_at, posted_at = excluded.posted_at,
    description = excluded.description, external_id = excluded.external_id, metadata = excluded.metadata,
    expires_at = excluded.expires_at, amount = excluded.amount
