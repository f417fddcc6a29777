-- Those of some transactions that pass the filters, in the order of the list, after a key and up to another.
-- The transactions come from whichever index finds them; everything asked for is looked at here, in the rows
-- themselves.
-- The order is by a number and the created position: by effective time in microseconds, by the lock_version at which
-- they first moved the account asked for, or by created position. What a failed condition archived moved no account.
-- That is in the first version that has an entry on it, most often the very first; of later ones, with up to a thousand
-- each, none is looked at.
-- Metadata conditions are a path of our own making, its keys and values are variables. The LIMITs within cut nothing
-- off, they tell the planner how few rows there are.
-- $1 ledger_id bigint, $2 created_positions text, an array literal, $3 by_effective_at boolean, $4 descending boolean,
-- $5 after_number bigint, $6 after_position bigint, $7 until_number bigint, inclusive, $8 row_count bigint; then
-- filters, of which null passes all:
-- $9 transaction_ids text[], $10 external_id text, $11 statuses text[], $12 archived_reasons text[],
-- $13 reverses_id uuid, $14 partially_posts_id uuid, $15 account_id uuid, $16 metadata jsonb, $17 metadata_path text,
-- $18 metadata_variables jsonb, $19 operators text[], $20 amounts text[],
-- lower bounds and exclusive upper bounds, text: $21 and $22 of created_at, $23 and $24 of updated_at, $25 and
-- $26 of posted_at, $27 and $28 of effective_at; $29 category_ids text[], directly in one of which is an account moved
SELECT
    t.transaction_id, t.ledger_id, t.version, t.status, t.archived_reason, t.entry_count, t.first_entry_id, t.position,
    t.created_position, t.created_at, t.updated_at, t.effective_at, t.posted_at, t.description, t.external_id,
    t.metadata, t.expires_at, t.reverses_id, t.partially_posts_id, o.number
FROM unnest($2::text::bigint[]) AS c (created_position)
CROSS JOIN LATERAL (
    SELECT *
    FROM transactions
    WHERE ledger_id = $1::bigint AND created_position = c.created_position
        AND ($9::text[] IS NULL OR transaction_id IN (SELECT unnest($9::text[]::uuid[])))
        AND ($10::text IS NULL OR external_id = $10::text AND status <> 3)
        AND ($11::text[] IS NULL OR status = ANY ($11::text[]::smallint[]))
        AND ($12::text[] IS NULL OR archived_reason = ANY ($12::text[]::smallint[]))
        AND ($13::uuid IS NULL OR reverses_id = $13::uuid)
        AND ($14::uuid IS NULL OR partially_posts_id = $14::uuid)
        AND ($16::jsonb IS NULL OR metadata @> $16::jsonb)
        AND ($17::text IS NULL OR jsonb_path_match(metadata, $17::text::jsonpath, $18::jsonb))
        AND ($21::text IS NULL OR created_at >= $21::text::timestamptz)
        AND ($22::text IS NULL OR created_at < $22::text::timestamptz)
        AND ($23::text IS NULL OR updated_at >= $23::text::timestamptz)
        AND ($24::text IS NULL OR updated_at < $24::text::timestamptz)
        AND ($25::text IS NULL OR posted_at >= $25::text::timestamptz)
        AND ($26::text IS NULL OR posted_at < $26::text::timestamptz)
        AND ($27::text IS NULL OR effective_at >= $27::text::timestamptz)
        AND ($28::text IS NULL OR effective_at < $28::text::timestamptz)
        AND ($19::text[] IS NULL OR NOT EXISTS (
            SELECT
            FROM unnest($19::text[]::smallint[], $20::text[]::numeric[]) AS a (operator, demanded)
            WHERE CASE a.operator
                WHEN 1 THEN amount < a.demanded
                WHEN 2 THEN amount <= a.demanded
                WHEN 3 THEN amount = a.demanded
                WHEN 4 THEN amount <> a.demanded
                WHEN 5 THEN amount >= a.demanded
                WHEN 6 THEN amount > a.demanded
            END IS NOT TRUE
        ))
        AND ($29::text[] IS NULL OR archived_reason <> 2 AND EXISTS (
            SELECT
            FROM (
                SELECT transactions.first_entry_id
                UNION
                SELECT w.first_entry_id
                FROM transaction_versions w
                WHERE w.ledger_id = $1::bigint AND w.transaction_id = transactions.transaction_id
            ) AS s
            CROSS JOIN LATERAL (
                SELECT account_id
                FROM entries
                WHERE ledger_id = $1::bigint
                    AND entry_id BETWEEN s.first_entry_id
                        AND s.first_entry_id + 4095
                LIMIT 1000
            ) AS e
            JOIN category_accounts m ON m.ledger_id = $1::bigint AND m.account_id = e.account_id
                AND m.category_id = ANY ($29::text[]::uuid[]) AND m.until_position IS NULL
        ))
    LIMIT 1
) AS t
LEFT JOIN LATERAL (
    SELECT account_lock_version AS lock_version
    FROM (
        SELECT t.first_entry_id
        WHERE t.version = 0
        UNION ALL
        SELECT first_entry_id
        FROM transaction_versions
        WHERE ledger_id = $1::bigint AND transaction_id = t.transaction_id AND version = 0
    ) AS s
    CROSS JOIN LATERAL (
        SELECT account_lock_version
        FROM entries
        WHERE ledger_id = $1::bigint
            AND entry_id BETWEEN s.first_entry_id AND s.first_entry_id + 4095
            AND (account_id = $15::uuid) IS TRUE
        LIMIT 1
    ) AS e
    WHERE $15::uuid IS NOT NULL AND t.archived_reason <> 2
    LIMIT 1
) AS first_version ON true
LEFT JOIN LATERAL (
    SELECT e.lock_version
    FROM (
        SELECT first_entry_id, min(version) AS version
        FROM (
            SELECT t.first_entry_id, t.version
            UNION ALL
            SELECT w.first_entry_id, w.version
            FROM transaction_versions w
            WHERE w.ledger_id = $1::bigint AND w.transaction_id = t.transaction_id
        ) AS versions
        GROUP BY first_entry_id
        ORDER BY version
    ) AS s
    CROSS JOIN LATERAL (
        SELECT account_lock_version AS lock_version
        FROM entries
        WHERE ledger_id = $1::bigint
            AND entry_id BETWEEN s.first_entry_id AND s.first_entry_id + 4095
            AND (account_id = $15::uuid) IS TRUE
        LIMIT 1
    ) AS e
    WHERE $15::uuid IS NOT NULL AND t.archived_reason <> 2 AND t.version > 0 AND first_version.lock_version IS NULL
    ORDER BY s.version
    LIMIT 1
) AS later_version ON true
CROSS JOIN LATERAL (
    SELECT coalesce(first_version.lock_version, later_version.lock_version) AS lock_version
) AS first_move
CROSS JOIN LATERAL (
    SELECT
        CASE
            WHEN $3::boolean THEN (extract(epoch FROM t.effective_at) * 1000000)::bigint
            WHEN $15::uuid IS NOT NULL THEN first_move.lock_version
            ELSE t.created_position
        END AS number
) AS o
WHERE ($15::uuid IS NULL OR first_move.lock_version IS NOT NULL)
    AND CASE
        WHEN $4::boolean
            THEN (o.number, t.created_position) < ($5::bigint, $6::bigint) AND o.number >= $7::bigint
        ELSE (o.number, t.created_position) > ($5::bigint, $6::bigint) AND o.number <= $7::bigint
    END
ORDER BY CASE WHEN $4::boolean THEN - o.number ELSE o.number END,
    CASE WHEN $4::boolean THEN - t.created_position ELSE t.created_position END
LIMIT $8::bigint
