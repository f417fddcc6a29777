-- Changes of accounts' limits, dated.
-- $1 ledger_id bigint, then text[], one element a change: $2 account_ids, $3 positions, $4 limits; $5 now timestamptz
INSERT INTO account_limits (ledger_id, account_id, position, changed_at, limits)
SELECT $1::bigint, r.account_id::uuid, r.position::bigint, $5::timestamptz, r.limits::jsonb
FROM unnest($2::text[], $3::text[], $4::text[]) AS r (account_id, position, limits)
