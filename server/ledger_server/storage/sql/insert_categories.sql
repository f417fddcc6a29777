-- New categories, each with its first version: zero counters.
-- $1 ledger_id bigint, then arrays, one element a category: $2 category_ids, $3 names, $4 descriptions,
-- $5 normal_balances, $6 currencies, $7 currency_exponents, $8 external_ids, $9 metadatas, $10 created_positions,
-- $11 deleted_positions, $12 deleted_ats, all text[]; $13 now timestamptz
WITH new_versions AS (
    INSERT INTO category_versions (
        ledger_id, category_id, position, posted_debits, posted_credits, pending_debits, pending_credits
    )
    SELECT $1::bigint, r.category_id::uuid, r.created_position::bigint, 0, 0, 0, 0
    FROM unnest($2::text[], $10::text[]) AS r (category_id, created_position)
)
INSERT INTO categories (
    ledger_id, category_id, normal_balance, currency, currency_exponent, created_position, created_at, updated_at,
    name, description, external_id, metadata, deleted_position, deleted_at
)
SELECT
    $1::bigint, r.category_id::uuid, r.normal_balance::smallint, r.currency, r.currency_exponent::smallint,
    r.created_position::bigint, $13::timestamptz, $13::timestamptz, r.name, r.description, r.external_id,
    r.metadata::jsonb, r.deleted_position::bigint, r.deleted_at::timestamptz
FROM unnest(
    $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
    $11::text[], $12::text[]
) AS r (
    category_id, name, description, normal_balance, currency, currency_exponent, external_id, metadata,
    created_position, deleted_position, deleted_at
)
