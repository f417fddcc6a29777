-- One transaction at one version, newest or replaced.
-- $1 ledger_id uuid, $2 transaction_id uuid, $3 version bigint
SELECT
    transaction_id, ledger_id, version, status, archived_reason, entry_count, first_entry_id, position, created_position,
    created_at, updated_at, effective_at, posted_at, description, external_id, metadata, expires_at, reverses_id, partially_posts_id
FROM transactions
WHERE ledger_id = $1::uuid AND transaction_id = $2::uuid AND version = $3::bigint
UNION ALL
SELECT
    transaction_id, ledger_id, version, status, archived_reason, entry_count, first_entry_id, position, created_position,
    created_at, updated_at, effective_at, posted_at, description, external_id, metadata, expires_at, reverses_id, partially_posts_id
FROM transaction_versions
WHERE ledger_id = $1::uuid AND transaction_id = $2::uuid AND version = $3::bigint
