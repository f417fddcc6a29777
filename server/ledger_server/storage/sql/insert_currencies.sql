-- Fixes the exponents of currency codes that a ledger's first account of them brings.
-- $1 ledger_id bigint, $2 currencies text[], $3 currency_exponents text[]
INSERT INTO currencies (ledger_id, currency, currency_exponent)
SELECT $1::bigint, r.currency, r.currency_exponent::smallint
FROM unnest($2::text[], $3::text[]) AS r (currency, currency_exponent)
ON CONFLICT (ledger_id, currency) DO NOTHING
