-- The exponents that custom currency codes have in a ledger.
-- $1 ledger_id bigint, $2 currencies text[]
SELECT currency, currency_exponent
FROM currencies
WHERE ledger_id = $1::bigint AND currency = ANY ($2::text[])
