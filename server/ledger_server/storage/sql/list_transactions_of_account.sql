-- Transactions that ever wrote on an account, newest first.
-- The account's versions tell which they are. MATERIALIZED keeps the planner from walking all of the ledger's
-- transactions instead, looking for one of the account's.
-- $1 ledger_id uuid, $2 account_id uuid, $3 before_position bigint, $4 statuses text[],
-- $5 metadata jsonb, $6 row_count bigint
WITH touched AS MATERIALIZED (
    SELECT DISTINCT transaction_id
    FROM account_versions
    WHERE ledger_id = $1::uuid AND account_id = $2::uuid
)
SELECT
    t.transaction_id, t.ledger_id, t.version, t.status, t.archived_reason, t.entry_count, t.first_entry_id, t.position,
    t.created_position, t.created_at, t.updated_at, t.effective_at, t.posted_at, t.description, t.external_id, t.metadata
FROM touched
JOIN transactions t ON t.ledger_id = $1::uuid AND t.transaction_id = touched.transaction_id
WHERE t.created_position < $3::bigint
    AND t.status = ANY ($4::text[]::smallint[])
    AND t.metadata @> $5::jsonb
ORDER BY t.created_position DESC
LIMIT $6::bigint
