-- The entries of some ranges of ids that pass the filters, in any order, each with its account's counters after the
-- command that wrote it. A range is of entries of one version, and what they have in common is looked up once: the
-- version that wrote them, and the first later one of their transaction that has others, which discarded them. Those
-- that its newest version has stand, without a look at the versions between. The row of that one is looked up once a
-- transaction, not by version: after many changes it has as many dead ones before it. The LIMITs, which cut nothing
-- off, tell the planner how few rows there are, and IS TRUE keeps it from going through all lines of an account for
-- each range.
-- $1 ledger_id bigint, $2 first_ids bigint[], $3 last_ids bigint[]; then filters, of which null passes all:
-- $4 directions text[], $5 statuses text[], $6 and $7 bounds of effective_at text, $8 metadata jsonb,
-- $9 metadata_path text, $10 metadata_variables jsonb, $11 operators text[], $12 amounts text[],
-- $13 and $14 bounds of lock_versions bigint, $15 and $16 bounds of created_at text, $17 account_id uuid,
-- $18 category_ids text[], which hold the account directly, $19 and $20 bounds of the last change text.
-- Upper bounds are exclusive.
SELECT
    e.entry_id, e.transaction_id, e.transaction_version, e.account_id, e.status, e.direction, e.amount,
    coalesce(edited.metadata, e.metadata) AS entry_metadata, e.reverses_entry_id, e.reverses_entry_time,
    e.account_lock_version AS lock_version,
    v.posted_debits, v.posted_credits, v.pending_debits, v.pending_credits, v.position AS balance_position,
    w.effective_at, w.created_at, d.discarded_at
FROM unnest($2::bigint[], $3::bigint[]) AS s (first_id, last_id)
CROSS JOIN LATERAL (
    SELECT transaction_id, transaction_version
    FROM entries
    WHERE ledger_id = $1::bigint AND entry_id = s.first_id
    LIMIT 1
) AS f
CROSS JOIN LATERAL (
    SELECT first_entry_id, effective_at, updated_at
    FROM transactions
    WHERE ledger_id = $1::bigint AND transaction_id = f.transaction_id
    LIMIT 1
) AS h
LEFT JOIN LATERAL (
    SELECT first_entry_id, effective_at, updated_at
    FROM transaction_versions
    WHERE ledger_id = $1::bigint AND transaction_id = f.transaction_id AND version = f.transaction_version
    LIMIT 1
) AS t ON true
CROSS JOIN LATERAL (
    SELECT
        coalesce(t.first_entry_id, h.first_entry_id) AS first_entry_id,
        coalesce(t.effective_at, h.effective_at) AS effective_at, coalesce(t.updated_at, h.updated_at) AS created_at
) AS w
LEFT JOIN LATERAL (
    SELECT updated_at
    FROM transaction_versions
    WHERE ledger_id = $1::bigint AND transaction_id = f.transaction_id AND version > f.transaction_version
        AND first_entry_id <> w.first_entry_id AND h.first_entry_id <> w.first_entry_id
    ORDER BY version
    LIMIT 1
) AS r ON true
CROSS JOIN LATERAL (
    SELECT CASE WHEN h.first_entry_id <> w.first_entry_id THEN coalesce(r.updated_at, h.updated_at) END AS discarded_at
) AS d
CROSS JOIN LATERAL (
    SELECT
        entry_id, transaction_id, transaction_version, account_id, account_lock_version, status, direction, amount,
        metadata, reverses_entry_id, reverses_entry_time
    FROM entries
    WHERE ledger_id = $1::bigint AND entry_id BETWEEN s.first_id AND s.last_id
        AND ($4::text[] IS NULL OR direction = ANY ($4::text[]::smallint[]))
        AND ($5::text[] IS NULL OR status = ANY ($5::text[]::smallint[]))
        AND ($11::text[] IS NULL OR NOT EXISTS (
            SELECT
            FROM unnest($11::text[]::smallint[], $12::text[]::numeric[]) AS a (operator, demanded)
            WHERE NOT CASE a.operator
                WHEN 1 THEN amount < a.demanded
                WHEN 2 THEN amount <= a.demanded
                WHEN 3 THEN amount = a.demanded
                WHEN 4 THEN amount <> a.demanded
                WHEN 5 THEN amount >= a.demanded
                WHEN 6 THEN amount > a.demanded
            END
        ))
        AND ($13::bigint IS NULL OR account_lock_version >= $13::bigint)
        AND ($14::bigint IS NULL OR account_lock_version < $14::bigint)
        AND ($17::uuid IS NULL OR account_id = $17::uuid) IS TRUE
        AND ($18::text[] IS NULL OR EXISTS (
            SELECT
            FROM category_accounts m
            WHERE m.ledger_id = $1::bigint AND m.account_id = entries.account_id
                AND m.category_id = ANY ($18::text[]::uuid[]) AND m.until_position IS NULL
        ))
    LIMIT 1000
) AS e
CROSS JOIN LATERAL (
    SELECT posted_debits, posted_credits, pending_debits, pending_credits, position
    FROM account_versions
    WHERE ledger_id = $1::bigint AND account_id = e.account_id AND lock_version = e.account_lock_version
    LIMIT 1
) AS v
LEFT JOIN LATERAL (
    SELECT metadata, updated_at
    FROM entry_metadata
    WHERE ledger_id = $1::bigint AND entry_id = e.entry_id
    LIMIT 1
) AS edited ON true
WHERE ($6::text IS NULL OR w.effective_at >= $6::text::timestamptz)
    AND ($7::text IS NULL OR w.effective_at < $7::text::timestamptz)
    AND ($8::jsonb IS NULL OR coalesce(edited.metadata, e.metadata, '{}') @> $8::jsonb)
    AND (
        $9::text IS NULL
        OR jsonb_path_match(coalesce(edited.metadata, e.metadata, '{}'), $9::text::jsonpath, $10::jsonb)
    )
    AND ($15::text IS NULL OR w.created_at >= $15::text::timestamptz)
    AND ($16::text IS NULL OR w.created_at < $16::text::timestamptz)
    AND ($19::text IS NULL OR greatest(w.created_at, d.discarded_at, edited.updated_at) >= $19::text::timestamptz)
    AND ($20::text IS NULL OR greatest(w.created_at, d.discarded_at, edited.updated_at) < $20::text::timestamptz)
