-- New accounts, each with its version 0: zero counters, and the limits it begins with.
-- $1 ledger_id uuid, then arrays, one element an account: $2 account_ids, $3 names, $4 descriptions, $5 normal_balances,
-- $6 currencies, $7 currency_exponents, $8 external_ids, $9 metadatas, $10 created_positions, $11 statuses, $12 limits,
-- $13 name_grams, all text[]; $14 now timestamptz
WITH new_versions AS (
    INSERT INTO account_lines (
        ledger_id, line_id, account_id, lock_version, position, posted_debits, posted_credits, pending_debits,
        pending_credits, written_at, effective_at
    )
    SELECT
        $1::uuid, r.account_id::uuid, r.account_id::uuid, 0, r.created_position::bigint, 0, 0, 0, 0, $14::timestamptz,
        $14::timestamptz
    FROM unnest($2::text[], $10::text[]) AS r (account_id, created_position)
)
INSERT INTO accounts (
    ledger_id, account_id, normal_balance, currency, currency_exponent, created_position, created_at, updated_at,
    name, name_grams, description, external_id, metadata, status, limits
)
SELECT
    $1::uuid, r.account_id::uuid, r.normal_balance::smallint, r.currency, r.currency_exponent::smallint,
    r.created_position::bigint, $14::timestamptz, $14::timestamptz, r.name, r.name_grams::bigint[], r.description,
    r.external_id, r.metadata::jsonb, r.status::smallint, r.limits::jsonb
FROM unnest(
    $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
    $11::text[], $12::text[], $13::text[]
) AS r (
    account_id, name, description, normal_balance, currency, currency_exponent, external_id, metadata, created_position,
    status, limits, name_grams
)
