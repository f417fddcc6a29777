-- Locks a ledger and says which of a batch's request ids and external ids are known already.
-- FOR NO KEY UPDATE is the guard of every rule: writers of one ledger go one after another. It sits in a CTE so
-- that the clock is read after the lock is held.
-- $1 ledger_id bigint, $2 request_ids text, $3 external_ids of transactions text, both array literals
WITH locked AS (
    SELECT
        name, description, metadata, created_at, updated_at, closed_before, position, event_time, digest, epoch,
        deleted_at, monitor_count
    FROM ledgers
    WHERE ledger_id = $1::bigint
    FOR NO KEY UPDATE
)
SELECT
    name, description, metadata, created_at, updated_at, closed_before, position, event_time, digest, epoch,
    monitor_count, deleted_at,
    greatest(clock_timestamp(), event_time) AS now,
    ARRAY(
        SELECT request_id FROM requests WHERE ledger_id = $1::bigint AND request_id = ANY ($2::text::text[])
    ) AS known_request_ids,
    ARRAY(
        SELECT external_id FROM transactions
        WHERE ledger_id = $1::bigint AND external_id = ANY ($3::text::text[]) AND status <> 3
    ) AS known_external_ids,
    EXISTS (SELECT FROM categories WHERE ledger_id = $1::bigint) AS has_categories
FROM locked
