-- The entries on an account that a balance counts, as they stood when a lock_version of it was written, oldest first.
-- An entry stands until a version of its transaction that was known then wrote others; every such version also moved the
-- account. The range of lock_versions bounds the work, as they have no gaps; the LIMIT tells the planner how few entries
-- a version has.
-- $1 ledger_id uuid, $2 account_id uuid, $3 after_version bigint, $4 after_entry_id uuid, $5 last_version bigint,
-- $6 known_position bigint, $7 pending_directions text[], $8 effective_from timestamptz or null,
-- $9 effective_before timestamptz or null, $10 row_count bigint
SELECT
    e.entry_id, e.transaction_id, e.transaction_version, e.account_id, e.status, e.direction, e.amount,
    coalesce(edited.metadata, e.metadata) AS entry_metadata, e.reverses_entry_id, v.lock_version,
    v.posted_debits, v.posted_credits, v.pending_debits, v.pending_credits, v.position AS balance_position,
    w.effective_at, w.created_at, d.discarded_at
FROM account_versions v
CROSS JOIN LATERAL (
    SELECT v.transaction_id
    UNION ALL
    SELECT t.partially_posts_id
    FROM (
        SELECT partially_posts_id
        FROM transactions
        WHERE ledger_id = $1::uuid AND transaction_id = v.transaction_id
        LIMIT 1
    ) AS t
    WHERE t.partially_posts_id IS NOT NULL
) AS m
CROSS JOIN LATERAL (
    SELECT t.version, t.first_entry_id, t.effective_at, t.updated_at AS created_at
    FROM transactions t
    WHERE t.ledger_id = $1::uuid AND t.transaction_id = m.transaction_id AND t.position = v.position
    UNION ALL
    SELECT t.version, t.first_entry_id, t.effective_at, t.updated_at
    FROM transaction_versions t
    WHERE t.ledger_id = $1::uuid AND t.transaction_id = m.transaction_id AND t.position = v.position
) AS w
CROSS JOIN LATERAL (
    SELECT
        entry_id, transaction_id, transaction_version, account_id, status, direction, amount, metadata,
        reverses_entry_id
    FROM entries
    WHERE ledger_id = $1::uuid
        AND entry_id BETWEEN w.first_entry_id AND overlay(w.first_entry_id::text PLACING 'fff' FROM 34)::uuid
        AND account_id = $2::uuid
        AND (status = 2 OR (status = 1 AND direction = ANY ($7::text[]::smallint[])))
    ORDER BY entry_id
    LIMIT 1000
) AS e
CROSS JOIN LATERAL (
    SELECT min(r.updated_at) AS discarded_at, min(r.position) AS discarded_position
    FROM (
        SELECT t.version, t.first_entry_id, t.updated_at, t.position
        FROM transactions t
        WHERE t.ledger_id = $1::uuid AND t.transaction_id = m.transaction_id
        UNION ALL
        SELECT t.version, t.first_entry_id, t.updated_at, t.position
        FROM transaction_versions t
        WHERE t.ledger_id = $1::uuid AND t.transaction_id = m.transaction_id
    ) AS r
    WHERE r.version > w.version AND r.first_entry_id <> w.first_entry_id
) AS d
LEFT JOIN LATERAL (
    SELECT metadata
    FROM entry_metadata
    WHERE ledger_id = $1::uuid AND entry_id = e.entry_id
    LIMIT 1
) AS edited ON true
WHERE v.ledger_id = $1::uuid AND v.account_id = $2::uuid
    AND v.lock_version >= $3::bigint AND v.lock_version <= $5::bigint
    AND (v.lock_version > $3::bigint OR e.entry_id > $4::uuid)
    AND (d.discarded_position IS NULL OR d.discarded_position > $6::bigint)
    AND ($8::timestamptz IS NULL OR w.effective_at >= $8::timestamptz)
    AND ($9::timestamptz IS NULL OR w.effective_at < $9::timestamptz)
ORDER BY v.lock_version, e.entry_id
LIMIT $10::bigint
