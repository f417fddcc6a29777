-- Created positions of pending transactions, and of those archived for some reasons, in any order.
-- $1 ledger_id bigint, $2 row_count bigint, $3 archived_reasons text[], 0 for pending ones
-- Reason by reason: of several at once PostgreSQL 15 searches the index for the ledger alone.
SELECT t.created_position
FROM unnest($3::text[]::smallint[]) AS r (archived_reason)
CROSS JOIN LATERAL (
    SELECT created_position
    FROM transactions
    WHERE ledger_id = $1::bigint AND archived_reason = r.archived_reason AND posted_at IS NULL
    LIMIT $2::bigint
) AS t
LIMIT $2::bigint
