-- What is not the log about a ledger.
-- $1 ledger_id bigint, $2 name text, $3 description text, $4 metadata jsonb, $5 updated_at timestamptz,
-- $6 closed_before timestamptz, $7 deleted_at timestamptz
UPDATE ledgers
SET name = $2::text, description = $3::text, metadata = $4::jsonb, updated_at = $5::timestamptz,
    closed_before = $6::timestamptz, deleted_at = $7::timestamptz
WHERE ledger_id = $1::bigint
