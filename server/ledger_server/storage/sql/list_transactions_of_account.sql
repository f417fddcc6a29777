-- Transactions in a range of created positions that ever wrote on an account, newest first.
-- A transaction moves an account at its creation or later, never before: those created at the position of one of the
-- account's versions or later are all found among that version and its successors. LIMIT 1 keeps the planner from
-- walking the whole range of the ledger's transactions instead, looking for one of the account's.
-- A partial post also moves accounts of the pending transaction that the posted part leaves out.
-- $1 ledger_id uuid, $2 account_id uuid, $3 least_lock_version bigint, $4 before_position bigint,
-- $5 last_position bigint, $6 statuses text[], $7 metadata jsonb, $8 row_count bigint
WITH touched AS MATERIALIZED (
    SELECT DISTINCT transaction_id
    FROM account_versions
    WHERE ledger_id = $1::uuid AND account_id = $2::uuid AND lock_version >= $3::bigint
)
SELECT
    t.transaction_id, t.ledger_id, t.version, t.status, t.archived_reason, t.entry_count, t.first_entry_id, t.position,
    t.created_position, t.created_at, t.updated_at, t.effective_at, t.posted_at, t.description, t.external_id, t.metadata,
    t.expires_at, t.reverses_id, t.partially_posts_id
FROM touched
CROSS JOIN LATERAL (
    SELECT *
    FROM transactions
    WHERE ledger_id = $1::uuid AND transaction_id = touched.transaction_id
    LIMIT 1
) AS t
WHERE t.created_position < $4::bigint AND t.created_position >= $5::bigint
    AND t.status = ANY ($6::text[]::smallint[])
    AND t.metadata @> $7::jsonb
    AND (
        t.partially_posts_id IS NULL
        OR EXISTS (
            SELECT
            FROM entries e
            WHERE e.ledger_id = $1::uuid
                AND e.entry_id BETWEEN t.first_entry_id AND overlay(t.first_entry_id::text PLACING 'fff' FROM 34)::uuid
                AND e.account_id = $2::uuid
        )
    )
ORDER BY t.created_position DESC
LIMIT $8::bigint
