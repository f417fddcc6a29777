-- Reads a ledger without locking it and says which of a batch's request ids and external ids are known already.
-- For validate_only: the same columns as lock_ledger.sql, on the snapshot of a read-only transaction.
-- $1 ledger_id uuid, $2 request_ids text, $3 external_ids of transactions text, both array literals
WITH locked AS (
    SELECT name, description, metadata, created_at, updated_at, closed_before, position, event_time, digest, epoch, deleted_at,
        monitor_count
    FROM ledgers
    WHERE ledger_id = $1::uuid AND deleted_at IS NULL
)
SELECT
    name, description, metadata, created_at, updated_at, closed_before, position, event_time, digest, epoch, monitor_count,
    deleted_at,
    greatest(clock_timestamp(), event_time) AS now,
    ARRAY(
        SELECT request_id FROM requests WHERE ledger_id = $1::uuid AND request_id = ANY ($2::text::text[])
    ) AS known_request_ids,
    ARRAY(
        SELECT external_id FROM transactions
        WHERE ledger_id = $1::uuid AND external_id = ANY ($3::text::text[]) AND status <> 3
    ) AS known_external_ids,
    EXISTS (SELECT FROM categories WHERE ledger_id = $1::uuid) AS has_categories
FROM locked
