-- Those of some entries that pass the filters, in any order, each with its account's counters after the command that
-- wrote it. An entry is discarded by the first later version of its transaction that has another entry set.
-- $1 ledger_id uuid, $2 entry_ids text[]; then filters, of which null passes all: $3 directions text[],
-- $4 statuses text[], $5 discarded boolean, $6 and $7 bounds of effective_at text, $8 metadata jsonb,
-- $9 metadata_path text, $10 metadata_variables jsonb, $11 operators text[], $12 amounts text[], $13 and $14 bounds of
-- lock_versions bigint, $15 and $16 bounds of created_at text, $17 account_id uuid, $18 category_ids text[], which hold
-- the account directly, $19 and $20 bounds of the last change text. Upper bounds are exclusive.
SELECT
    e.entry_id, e.transaction_id, e.transaction_version, e.account_id, e.status, e.direction, e.amount,
    coalesce(edited.metadata, e.metadata) AS entry_metadata, e.reverses_entry_id,
    e.account_lock_version AS lock_version,
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
    SELECT metadata, updated_at
    FROM entry_metadata
    WHERE ledger_id = $1::uuid AND entry_id = e.entry_id
    LIMIT 1
) AS edited ON true
WHERE e.ledger_id = $1::uuid AND e.entry_id = ANY ($2::text[]::uuid[])
    AND ($3::text[] IS NULL OR e.direction = ANY ($3::text[]::smallint[]))
    AND ($4::text[] IS NULL OR e.status = ANY ($4::text[]::smallint[]))
    AND ($5::boolean IS NULL OR (d.discarded_at IS NOT NULL) = $5::boolean)
    AND ($6::text IS NULL OR w.effective_at >= $6::text::timestamptz)
    AND ($7::text IS NULL OR w.effective_at < $7::text::timestamptz)
    AND ($8::jsonb IS NULL OR coalesce(edited.metadata, e.metadata, '{}') @> $8::jsonb)
    AND (
        $9::text IS NULL
        OR jsonb_path_match(coalesce(edited.metadata, e.metadata, '{}'), $9::text::jsonpath, $10::jsonb)
    )
    AND ($11::text[] IS NULL OR NOT EXISTS (
        SELECT
        FROM unnest($11::text[]::smallint[], $12::text[]::numeric[]) AS a (operator, demanded)
        WHERE NOT CASE a.operator
            WHEN 1 THEN e.amount < a.demanded
            WHEN 2 THEN e.amount <= a.demanded
            WHEN 3 THEN e.amount = a.demanded
            WHEN 4 THEN e.amount <> a.demanded
            WHEN 5 THEN e.amount >= a.demanded
            WHEN 6 THEN e.amount > a.demanded
        END
    ))
    AND ($13::bigint IS NULL OR e.account_lock_version >= $13::bigint)
    AND ($14::bigint IS NULL OR e.account_lock_version < $14::bigint)
    AND ($15::text IS NULL OR w.created_at >= $15::text::timestamptz)
    AND ($16::text IS NULL OR w.created_at < $16::text::timestamptz)
    AND ($17::uuid IS NULL OR e.account_id = $17::uuid)
    AND ($18::text[] IS NULL OR EXISTS (
        SELECT
        FROM category_accounts m
        WHERE m.ledger_id = $1::uuid AND m.account_id = e.account_id
            AND m.category_id = ANY ($18::text[]::uuid[]) AND m.until_position IS NULL
    ))
    AND ($19::text IS NULL OR greatest(w.created_at, d.discarded_at, edited.updated_at) >= $19::text::timestamptz)
    AND ($20::text IS NULL OR greatest(w.created_at, d.discarded_at, edited.updated_at) < $20::text::timestamptz)
