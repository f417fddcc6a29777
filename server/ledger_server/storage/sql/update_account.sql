-- What is not money about an account.
-- $1 ledger_id bigint, $2 account_id uuid, $3 name text, $4 description text, $5 external_id text, $6 metadata jsonb,
-- $7 status smallint, $8 limits jsonb, $9 deleted_at timestamptz, $10 name_grams bigint[], $11 now timestamptz
UPDATE accounts
SET name = $3::text, name_grams = $10::bigint[], description = $4::text, external_id = $5::text,
    metadata = $6::jsonb, status = $7::smallint, limits = $8::jsonb, deleted_at = $9::timestamptz,
    updated_at = $11::timestamptz
WHERE ledger_id = $1::bigint AND account_id = $2::uuid
