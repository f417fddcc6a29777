-- Transactions before a created position, newest first.
-- No filter, so that no plan is better than walking transaction_created_position_unique until LIMIT; see
-- filter_transactions.sql.
-- $1 ledger_id uuid, $2 before_position bigint, $3 row_count bigint
SELECT
    transaction_id, ledger_id, version, status, archived_reason, entry_count, first_entry_id, position, created_position,
    created_at, updated_at, effective_at, posted_at, description, external_id, metadata,
    expires_at, reverses_id, partially_posts_id
FROM transactions
WHERE ledger_id = $1::uuid AND created_position < $2::bigint
ORDER BY created_position DESC
LIMIT $3::bigint
