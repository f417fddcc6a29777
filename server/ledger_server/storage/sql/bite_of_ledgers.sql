-- Where a bite of so many ledgers ends: the key of its last one, no row if there are fewer.
-- Answered from the index alone.
-- $1 created_at timestamptz, $2 ledger_id uuid, the key; $3 row_count bigint
SELECT created_at, ledger_id
FROM ledgers
WHERE (created_at, ledger_id) > ($1::timestamptz, $2::uuid) AND deleted_at IS NULL
ORDER BY created_at, ledger_id
OFFSET $3::bigint - 1
LIMIT 1
