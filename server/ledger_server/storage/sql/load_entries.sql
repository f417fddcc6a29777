-- The entries of some entry sets, each with its account after the command that wrote it.
-- A version's entries are one range of ids, which ends where the last three hexadecimal digits do. An account
-- that never moved has no version; its counters are zero.
-- $1 ledger_id uuid, $2 first_entry_ids text[]
SELECT
    s.first_entry_id, e.entry_id, e.transaction_version, e.status, e.direction, e.amount, e.metadata AS entry_metadata,
    e.account_lock_version AS lock_version,
    coalesce(v.posted_debits, 0) AS posted_debits, coalesce(v.posted_credits, 0) AS posted_credits,
    coalesce(v.pending_debits, 0) AS pending_debits, coalesce(v.pending_credits, 0) AS pending_credits,
    coalesce(v.position, a.created_position) AS balance_position,
    a.account_id, a.ledger_id, a.name, a.description, a.normal_balance, a.currency, a.currency_exponent, a.external_id,
    a.metadata, a.created_position, a.created_at, a.updated_at
FROM unnest($2::text[]) AS s (first_entry_id)
JOIN entries e
    ON e.ledger_id = $1::uuid
    AND e.entry_id BETWEEN s.first_entry_id::uuid AND overlay(s.first_entry_id PLACING 'fff' FROM 34)::uuid
JOIN accounts a ON a.ledger_id = $1::uuid AND a.account_id = e.account_id
LEFT JOIN account_versions v
    ON v.ledger_id = $1::uuid AND v.account_id = e.account_id AND v.lock_version = e.account_lock_version
ORDER BY s.first_entry_id, e.entry_id
