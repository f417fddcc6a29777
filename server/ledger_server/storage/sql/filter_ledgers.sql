-- The ledgers of one bite that pass the filter, oldest first.
-- A bite is a range of keys with a bounded number of ledgers, so any plan along the range will do.
-- $1 created_at timestamptz, $2 ledger_id uuid, the key before the first; $3 created_at timestamptz, $4 ledger_id uuid,
-- the key of the last; $5 metadata jsonb, $6 row_count bigint
SELECT ledger_id, name, description, metadata, created_at, updated_at, closed_before, position, epoch
FROM ledgers
WHERE (created_at, ledger_id) > ($1::timestamptz, $2::uuid)
    AND (created_at, ledger_id) <= ($3::timestamptz, $4::uuid)
    AND ledger_id <> '00000000-0000-0000-0000-000000000000' AND deleted_at IS NULL
    AND metadata @> $5::jsonb
ORDER BY created_at, ledger_id
LIMIT $6::bigint
