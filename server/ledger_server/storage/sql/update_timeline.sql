-- How far an account's versions are folded now.
-- $1 ledger_id bigint, $2 account_id uuid, $3 folded_version bigint, $4 run_starts bigint[]
UPDATE account_timelines
SET folded_version = $3::bigint, run_starts = $4::bigint[]
WHERE ledger_id = $1::bigint AND account_id = $2::uuid
