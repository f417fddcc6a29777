-- Entries by id, each with its account's counters after the command that wrote it.
-- An entry is discarded by the first later version of its transaction that has another entry set.
-- $1 ledger_id uuid, $2 entry_ids text[]
SELECT
    e.entry_id, e.transaction_id, e.transaction_version, e.account_id, e.status, e.direction, e.amount,
    coalesce(edited.metadata, e.metadata) AS entry_metadata, e.reverses_entry_id, e.account_lock_version AS lock_version,
    v.posted_debits, v.posted_credits, v.pending_debits, v.pending_credits, v.position AS balance_position,
    w.effective_at, w.created_at, d.discarded_at
FROM entries e
CROSS JOIN LATERAL (
    SELECT posted_debits, posted_credits, pending_debits, pending_credits, position
    FROM account_versions
    WHERE ledger_id = $1::uuid AND account_id = e.account_id AND lock_version = e.account_lock_version
    LIMIT 1
) AS v
CROSS JOIN LATERAL (
    SELECT t.first_entry_id, t.effective_at, t.updated_at AS created_at
    FROM transactions t
    WHERE t.ledger_id = $1::uuid AND t.transaction_id = e.transaction_id AND t.version = e.transaction_version
    UNION ALL
    SELECT t.first_entry_id, t.effective_at, t.updated_at
    FROM transaction_versions t
    WHERE t.ledger_id = $1::uuid AND t.transaction_id = e.transaction_id AND t.version = e.transaction_version
) AS w
CROSS JOIN LATERAL (
    SELECT min(r.updated_at) AS discarded_at
    FROM (
        SELECT t.version, t.first_entry_id, t.updated_at
        FROM transactions t
        WHERE t.ledger_id = $1::uuid AND t.transaction_id = e.transaction_id
        UNION ALL
        SELECT t.version, t.first_entry_id, t.updated_at
        FROM transaction_versions t
        WHERE t.ledger_id = $1::uuid AND t.transaction_id = e.transaction_id
    ) AS r
    WHERE r.version > e.transaction_version AND r.first_entry_id <> w.first_entry_id
) AS d
LEFT JOIN LATERAL (
    SELECT metadata
    FROM entry_metadata
    WHERE ledger_id = $1::uuid AND entry_id = e.entry_id
    LIMIT 1
) AS edited ON true
WHERE e.ledger_id = $1::uuid AND e.entry_id = ANY ($2::text[]::uuid[])
