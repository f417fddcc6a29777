-- Metadata of entries as it is now.
-- $1 ledger_id uuid, $2 entry_ids text[], $3 metadatas text[], $4 positions text[], $5 now timestamptz
INSERT INTO entry_metadata (ledger_id, entry_id, metadata, updated_at, position)
SELECT $1::uuid, r.entry_id::uuid, r.metadata::jsonb, $5::timestamptz, r.position::bigint
FROM unnest($2::text[], $3::text[], $4::text[]) AS r (entry_id, metadata, position)
ON CONFLICT (ledger_id, entry_id) DO UPDATE
SET metadata = excluded.metadata, updated_at = excluded.updated_at, position = excluded.position
