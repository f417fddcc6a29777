-- Transactions, each at one version, newest or replaced.
-- LIMIT 1, which a unique key makes true anyway, keeps the planner from a hash of the whole ledger.
-- $1 ledger_id bigint, $2 transaction_ids text[], $3 versions text[]
SELECT
    t.transaction_id, t.ledger_id, t.version, t.status, t.archived_reason, t.entry_count, t.first_entry_id, t.position,
    t.created_position, t.created_at, t.updated_at, t.effective_at, t.posted_at, t.description, t.external_id,
    t.metadata, t.expires_at, t.reverses_id, t.partially_posts_id
FROM unnest($2::text[], $3::text[]) AS s (transaction_id, version)
CROSS JOIN LATERAL (
    SELECT
        transaction_id, ledger_id, version, status, archived_reason, entry_count, first_entry_id, position,
        created_position, created_at, updated_at, effective_at, posted_at, description, external_id, metadata,
        expires_at, reverses_id, partially_posts_id
    FROM transactions
    WHERE ledger_id = $1::bigint AND transaction_id = s.transaction_id::uuid AND version = s.version::bigint
    UNION ALL
    SELECT
        transaction_id, ledger_id, version, status, archived_reason, entry_count, first_entry_id, position,
        created_position, created_at, updated_at, effective_at, posted_at, description, external_id, metadata,
        expires_at, reverses_id, partially_posts_id
    FROM transaction_versions
    WHERE ledger_id = $1::bigint AND transaction_id = s.transaction_id::uuid AND version = s.version::bigint
    LIMIT 1
) AS t
