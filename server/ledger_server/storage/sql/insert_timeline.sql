-- An account's timeline, with nothing folded yet, unless it has one.
-- $1 ledger_id bigint, $2 account_id uuid
INSERT INTO account_timelines (ledger_id, account_id, folded_version, run_starts)
SELECT $1::bigint, $2::uuid, 0, '{}'::bigint[]
WHERE NOT EXISTS (SELECT FROM account_timelines WHERE ledger_id = $1::bigint AND account_id = $2::uuid)
ON CONFLICT (ledger_id, account_id) DO NOTHING
