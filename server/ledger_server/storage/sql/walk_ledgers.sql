-- The keys of ledgers in created order, after one of them and before another.
-- A walk along one index.
-- $1 created_at timestamptz, $2 ledger_id bigint, the key before the first; $3 before text; $4 row_count bigint
SELECT created_at, ledger_id
FROM ledgers
WHERE (created_at, ledger_id) > ($1::timestamptz, $2::bigint) AND created_at < $3::text::timestamptz
    AND deleted_at IS NULL
ORDER BY created_at, ledger_id
LIMIT $4::bigint
