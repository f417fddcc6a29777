-- Entries of all versions of a transaction, oldest first, each with its account's counters after the command.
-- Versions that share an entry set are one: the first of them wrote it, and the next set's first discards it.
-- The LIMITs cut nothing off; they tell the planner how few rows there are.
-- $1 ledger_id uuid, $2 transaction_id uuid, $3 after_version bigint, $4 after_entry_id uuid,
-- $5 directions text[], $6 statuses text[], $7 include_discarded boolean, $8 effective_at_lower_bound timestamptz or null,
-- $9 effective_at_upper_bound timestamptz or null, $10 row_count bigint; then filters, of which null passes all: $11 metadata jsonb,
-- $12 metadata_path text, $13 metadata_variables jsonb, $14 operators text[], $15 amounts text[],
-- $16 lower bound of lock_versions bigint, $17 upper bound bigint, exclusive
WITH versions AS (
    SELECT version, first_entry_id, effective_at, updated_at
    FROM transactions
    WHERE ledger_id = $1::uuid AND transaction_id = $2::uuid
    UNION ALL
    SELECT version, first_entry_id, effective_at, updated_at
    FROM transaction_versions
    WHERE ledger_id = $1::uuid AND transaction_id = $2::uuid
),
sets AS (
    SELECT
        first_entry_id, min(version) AS version, min(effective_at) AS effective_at, min(updated_at) AS created_at,
        lead(min(updated_at)) OVER (ORDER BY min(version)) AS discarded_at
    FROM versions
    GROUP BY first_entry_id
)
SELECT
    e.entry_id, e.transaction_id, e.transaction_version, e.account_id, e.status, e.direction, e.amount,
    coalesce(edited.metadata, e.metadata) AS entry_metadata, e.reverses_entry_id, e.account_lock_version AS lock_version,
    v.posted_debits, v.posted_credits, v.pending_debits, v.pending_credits, v.position AS balance_position,
    s.effective_at, s.created_at, s.discarded_at
FROM sets s
CROSS JOIN LATERAL (
    SELECT
        entry_id, transaction_id, transaction_version, account_id, account_lock_version, status, direction, amount, metadata,
        reverses_entry_id
    FROM entries
    WHERE ledger_id = $1::uuid
        AND entry_id BETWEEN s.first_entry_id AND overlay(s.first_entry_id::text PLACING 'fff' FROM 34)::uuid
        AND direction = ANY ($5::text[]::smallint[])
        AND status = ANY ($6::text[]::smallint[])
    ORDER BY entry_id
    LIMIT 1000
) AS e
CROSS JOIN LATERAL (
    SELECT posted_debits, posted_credits, pending_debits, pending_credits, position
    FROM account_versions
    WHERE ledger_id = $1::uuid AND account_id = e.account_id AND lock_version = e.account_lock_version
    LIMIT 1
) AS v
LEFT JOIN LATERAL (
    SELECT metadata
    FROM entry_metadata
    WHERE ledger_id = $1::uuid AND entry_id = e.entry_id
    LIMIT 1
) AS edited ON true
WHERE s.version >= $3::bigint
    AND (s.version > $3::bigint OR e.entry_id > $4::uuid)
    AND ($7::boolean OR s.discarded_at IS NULL)
    AND ($8::timestamptz IS NULL OR s.effective_at >= $8::timestamptz)
    AND ($9::timestamptz IS NULL OR s.effective_at < $9::timestamptz)
    AND ($11::jsonb IS NULL OR coalesce(edited.metadata, e.metadata, '{}') @> $11::jsonb)
    AND (
        $12::text IS NULL
        OR jsonb_path_match(coalesce(edited.metadata, e.metadata, '{}'), $12::text::jsonpath, $13::jsonb)
    )
    AND ($16::bigint IS NULL OR e.account_lock_version >= $16::bigint)
    AND ($17::bigint IS NULL OR e.account_lock_version < $17::bigint)
    AND ($14::text[] IS NULL OR NOT EXISTS (
        SELECT
        FROM unnest($14::text[]::smallint[], $15::text[]::numeric[]) AS a (operator, demanded)
        WHERE NOT CASE a.operator
            WHEN 1 THEN e.amount < a.demanded
            WHEN 2 THEN e.amount <= a.demanded
            WHEN 3 THEN e.amount = a.demanded
            WHEN 4 THEN e.amount <> a.demanded
            WHEN 5 THEN e.amount >= a.demanded
            WHEN 6 THEN e.amount > a.demanded
        END
    ))
ORDER BY s.version, e.entry_id
LIMIT $10::bigint
