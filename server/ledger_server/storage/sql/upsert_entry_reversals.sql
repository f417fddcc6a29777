-- How much of entries is reversed now.
-- $1 ledger_id uuid, then text[], one element an entry: $2 entry_ids, $3 reversed, $4 amounts
INSERT INTO entry_reversals (ledger_id, entry_id, reversed, amount)
SELECT $1::uuid, r.entry_id::uuid, r.reversed::numeric, r.amount::numeric
FROM unnest($2::text[], $3::text[], $4::text[]) AS r (entry_id, reversed, amount)
ON CONFLICT (ledger_id, entry_id) DO UPDATE SET reversed = excluded.reversed
