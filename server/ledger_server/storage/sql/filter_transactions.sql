-- The transactions of one bite that pass the filters, newest first.
-- A bite is a range of created positions with a bounded number of transactions, so any plan along the range will do.
-- $1 ledger_id uuid, $2 before_position bigint, $3 last_position bigint, $4 statuses text[],
-- $5 metadata jsonb, $6 row_count bigint
SELECT
    transaction_id, ledger_id, version, status, archived_reason, entry_count, first_entry_id, position, created_position,
    created_at, updated_at, effective_at, posted_at, description, external_id, metadata,
    expires_at, reverses_id, partially_posts_id
FROM transactions
WHERE ledger_id = $1::uuid AND created_position < $2::bigint AND created_position >= $3::bigint
    AND status = ANY ($4::text[]::smallint[])
    AND metadata @> $5::jsonb
ORDER BY created_position DESC
LIMIT $6::bigint
