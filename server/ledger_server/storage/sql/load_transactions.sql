-- Transactions at their newest version, by id.
-- $1 ledger_id bigint, $2 transaction_ids text[]
SELECT
    transaction_id, ledger_id, version, status, archived_reason, entry_count, first_entry_id, position,
    created_position, created_at, updated_at, effective_at, posted_at, description, external_id, metadata, expires_at,
    reverses_id, partially_posts_id
FROM transactions
WHERE ledger_id = $1::bigint AND transaction_id = ANY ($2::text[]::uuid[])
