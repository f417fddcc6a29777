-- An account's timeline, with nothing folded yet, unless it has one.
-- $1 ledger_id uuid, $2 account_id uuid
INSERT INTO account_timelines (ledger_id, account_id, folded_version, run_starts)
SELECT $1::uuid, $2::uuid, 0, '{}'::bigint[]
WHERE NOT EXISTS (SELECT FROM account_timelines WHERE ledger_id = $1::uuid AND account_id = $2::uuid)
ON CONFLICT (ledger_id, account_id) DO NOTHING
