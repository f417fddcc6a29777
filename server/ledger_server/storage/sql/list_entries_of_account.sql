-- Entries written on an account under a range of its lock_versions, in their order, with its counters after each.
-- A lock_version was written by the transaction version of the same position, or by two: a partial post's new
-- transaction and what it leaves of the pending one. The line says which version of its transaction it is of, unless it
-- only took away what was pending; of the other transaction the position tells. Entries that a failed condition
-- archived moved no account and are none of them. The range bounds the work, as lock_versions have no gaps; the LIMIT
-- tells the planner how few entries a version has, and IS TRUE keeps it from going through all lines of the account for
-- each. The first later version of their transaction that has others discards entries; those that its newest one has
-- stand, without a look at the versions between.
-- $1 ledger_id bigint, $2 account_id uuid, $3 after_version bigint, $4 after_entry_id bigint, $5 last_version bigint,
-- $6 row_count bigint; then filters, of which null passes all: $7 directions text[], $8 statuses text[],
-- $9 and $10 bounds of effective_at text, $11 metadata jsonb, $12 metadata_path text, $13 metadata_variables jsonb,
-- $14 operators text[], $15 amounts text[], $16 lower bound of lock_versions bigint, $17 upper bound bigint, exclusive,
-- $18 and $19 bounds of created_at text, $20 entry_ids bigint[], $21 category_ids text[], which hold the account
-- directly; $22 descending boolean, $23 as_of_position bigint or null: what was discarded after it stands;
-- $24 pending_directions text[]: of what was written pending only these, as a balance counts it;
-- $25 and $26 bounds of the last change text, $27 discarded boolean
SELECT
    e.entry_id, e.transaction_id, e.transaction_version, e.account_id, e.status, e.direction, e.amount,
    coalesce(edited.metadata, e.metadata) AS entry_metadata, e.reverses_entry_id, e.reverses_entry_time,
    v.lock_version, v.posted_debits, v.posted_credits, v.pending_debits, v.pending_credits,
    v.position AS balance_position,
    w.effective_at, w.created_at, d.discarded_at
FROM account_lines v
CROSS JOIN LATERAL (
    SELECT v.transaction_id, CASE WHEN v.direction IS NOT NULL THEN coalesce(v.transaction_version, 0) END AS version
    UNION ALL
    SELECT t.partially_posts_id, NULL
    FROM (
        SELECT partially_posts_id
        FROM transactions
        WHERE ledger_id = $1::bigint AND transaction_id = v.transaction_id
        LIMIT 1
    ) AS t
    WHERE t.partially_posts_id IS NOT NULL
) AS m
CROSS JOIN LATERAL (
    SELECT version, first_entry_id, effective_at, updated_at, position
    FROM transactions
    WHERE ledger_id = $1::bigint AND transaction_id = m.transaction_id
    LIMIT 1
) AS h
CROSS JOIN LATERAL (
    SELECT h.version, h.first_entry_id, h.effective_at, h.updated_at AS created_at
    WHERE h.position = v.position
    UNION ALL
    SELECT t.version, t.first_entry_id, t.effective_at, t.updated_at
    FROM transaction_versions t
    WHERE t.ledger_id = $1::bigint AND t.transaction_id = m.transaction_id AND t.version = m.version
        AND t.position = v.position
    UNION ALL
    SELECT t.version, t.first_entry_id, t.effective_at, t.updated_at
    FROM transaction_versions t
    WHERE m.version IS NULL AND t.ledger_id = $1::bigint AND t.transaction_id = m.transaction_id
        AND t.position = v.position
) AS w
CROSS JOIN LATERAL (
    SELECT
        entry_id, transaction_id, transaction_version, account_id, status, direction, amount, metadata,
        reverses_entry_id, reverses_entry_time
    FROM entries
    WHERE ledger_id = $1::bigint
        AND entry_id BETWEEN w.first_entry_id AND w.first_entry_id + 4095
        AND (account_id = $2::uuid) IS TRUE
        AND ($7::text[] IS NULL OR direction = ANY ($7::text[]::smallint[]))
        AND ($8::text[] IS NULL OR status = ANY ($8::text[]::smallint[]))
        AND ($24::text[] IS NULL OR status <> 1 OR direction = ANY ($24::text[]::smallint[]))
    ORDER BY entry_id
    LIMIT 1000
) AS e
LEFT JOIN LATERAL (
    SELECT t.updated_at, t.position
    FROM transaction_versions t
    WHERE t.ledger_id = $1::bigint AND t.transaction_id = m.transaction_id AND t.version > w.version
        AND t.first_entry_id <> w.first_entry_id AND h.first_entry_id <> w.first_entry_id
    ORDER BY t.version
    LIMIT 1
) AS r ON true
CROSS JOIN LATERAL (
    SELECT
        CASE WHEN h.first_entry_id <> w.first_entry_id THEN coalesce(r.updated_at, h.updated_at) END AS discarded_at,
        CASE WHEN h.first_entry_id <> w.first_entry_id THEN coalesce(r.position, h.position) END AS discarded_position
) AS d
LEFT JOIN LATERAL (
    SELECT metadata, updated_at
    FROM entry_metadata
    WHERE ledger_id = $1::bigint AND entry_id = e.entry_id
    LIMIT 1
) AS edited ON true
WHERE v.ledger_id = $1::bigint AND v.account_id = $2::uuid
    AND v.lock_version >= least($3::bigint, $5::bigint) AND v.lock_version <= greatest($3::bigint, $5::bigint)
    AND CASE
        WHEN $22::boolean THEN (v.lock_version, e.entry_id) < ($3::bigint, $4::bigint)
        ELSE (v.lock_version, e.entry_id) > ($3::bigint, $4::bigint)
    END
    AND ($18::text IS NULL OR w.created_at >= $18::text::timestamptz)
    AND ($19::text IS NULL OR w.created_at < $19::text::timestamptz)
    AND ($25::text IS NULL OR greatest(w.created_at, d.discarded_at, edited.updated_at) >= $25::text::timestamptz)
    AND ($26::text IS NULL OR greatest(w.created_at, d.discarded_at, edited.updated_at) < $26::text::timestamptz)
    AND ($20::bigint[] IS NULL OR e.entry_id IN (SELECT unnest($20::bigint[])))
    AND ($21::text[] IS NULL OR EXISTS (
        SELECT
        FROM category_accounts c
        WHERE c.ledger_id = $1::bigint AND c.account_id = $2::uuid
            AND c.category_id = ANY ($21::text[]::uuid[]) AND c.until_position IS NULL
    ))
    AND (
        $27::boolean IS NULL
        OR (d.discarded_at IS NOT NULL AND ($23::bigint IS NULL OR d.discarded_position <= $23::bigint)) = $27::boolean
    )
    AND ($9::text IS NULL OR w.effective_at >= $9::text::timestamptz)
    AND ($10::text IS NULL OR w.effective_at < $10::text::timestamptz)
    AND ($11::jsonb IS NULL OR coalesce(edited.metadata, e.metadata, '{}') @> $11::jsonb)
    AND (
        $12::text IS NULL
        OR jsonb_path_match(coalesce(edited.metadata, e.metadata, '{}'), $12::text::jsonpath, $13::jsonb)
    )
    AND ($16::bigint IS NULL OR v.lock_version >= $16::bigint)
    AND ($17::bigint IS NULL OR v.lock_version < $17::bigint)
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
ORDER BY
    CASE WHEN $22::boolean THEN v.lock_version END DESC, CASE WHEN $22::boolean THEN e.entry_id END DESC,
    v.lock_version, e.entry_id
LIMIT $6::bigint
