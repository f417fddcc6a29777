-- The entries of some entry sets, each with its account after the command that wrote it.
-- A version's entries are one range of ids, which ends where the last three hexadecimal digits do.
-- $1 ledger_id uuid, $2 first_entry_ids text[]
SELECT
    s.first_entry_id, e.entry_id, e.transaction_version, e.status, e.direction, e.amount, e.metadata AS entry_metadata,
    e.account_lock_version AS lock_version,
    v.posted_debits, v.posted_credits, v.pending_debits, v.pending_credits, v.position AS balance_position,
    a.account_id, a.ledger_id, a.name, a.description, a.normal_balance, a.currency, a.currency_exponent, a.external_id,
    a.metadata, a.created_position, a.created_at, a.updated_at
FROM unnest($2::text[]) AS s (first_entry_id)
JOIN entries e
    ON e.ledger_id = $1::uuid
    AND e.entry_id BETWEEN s.first_entry_id::uuid AND overlay(s.first_entry_id PLACING 'fff' FROM 34)::uuid
JOIN accounts a ON a.ledger_id = $1::uuid AND a.account_id = e.account_id
JOIN account_versions v
    ON v.ledger_id = $1::uuid AND v.account_id = e.account_id AND v.lock_version = e.account_lock_version
ORDER BY s.first_entry_id, e.entry_id
