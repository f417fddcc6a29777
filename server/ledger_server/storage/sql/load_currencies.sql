-- The exponents that custom currency codes have in a ledger.
-- $1 ledger_id uuid, $2 currencies text[]
SELECT currency, currency_exponent
FROM currencies
WHERE ledger_id = $1::uuid AND currency = ANY ($2::text[])
