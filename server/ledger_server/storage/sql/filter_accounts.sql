-- Those of some accounts that pass the filters, in created order, after one of them and up to another.
-- The accounts come from whichever index finds them; everything asked for is looked at here, in the rows themselves.
-- Metadata conditions are a path of our own making, its keys and values are variables. The LIMIT within cuts nothing
-- off, it tells the planner that there is one row. IN (SELECT unnest …) is hashed once, ANY goes through all ids.
-- $1 ledger_id bigint, $2 created_positions text, an array literal, $3 descending boolean, $4 after_position bigint,
-- $5 row_count bigint; then filters, of which null passes all:
-- $6 account_ids text[], $7 external_id text, $8 names text[], as patterns of ILIKE, $9 statuses text[],
-- $10 currency text, $11 normal_balance smallint, $12 metadata jsonb, $13 metadata_path text,
-- $14 metadata_variables jsonb, lower bounds and exclusive upper bounds, text: $15 and $16 of created_at,
-- $17 and $18 of updated_at; $19 balances text[], $20 operators text[], $21 amounts text[]; $22 include_deleted
-- boolean, $23 category_ids text[], of which it is directly in one
SELECT
    a.account_id, a.ledger_id, a.name, a.description, a.normal_balance, a.currency, a.currency_exponent, a.external_id,
    a.metadata, a.created_position, a.created_at, a.updated_at, a.account_status, a.limits, a.deleted_at,
    a.lock_version, a.posted_debits, a.posted_credits, a.pending_debits, a.pending_credits, a.balance_position
FROM unnest($2::text::bigint[]) AS c (created_position)
CROSS JOIN LATERAL (
    SELECT *
    FROM accounts_with_balances
    WHERE ledger_id = $1::bigint AND created_position = c.created_position
        AND ($6::text[] IS NULL OR account_id IN (SELECT unnest($6::text[]::uuid[])))
        AND ($7::text IS NULL OR external_id = $7::text)
        AND ($22::boolean OR deleted_at IS NULL)
        AND ($8::text[] IS NULL OR name ILIKE ANY ($8::text[]))
        AND ($9::text[] IS NULL OR account_status = ANY ($9::text[]::smallint[]))
        AND ($10::text IS NULL OR currency = $10::text)
        AND ($11::smallint IS NULL OR normal_balance = $11::smallint)
        AND ($12::jsonb IS NULL OR metadata @> $12::jsonb)
        AND ($13::text IS NULL OR jsonb_path_match(metadata, $13::text::jsonpath, $14::jsonb))
        AND ($15::text IS NULL OR created_at >= $15::text::timestamptz)
        AND ($16::text IS NULL OR created_at < $16::text::timestamptz)
        AND ($17::text IS NULL OR updated_at >= $17::text::timestamptz)
        AND ($18::text IS NULL OR updated_at < $18::text::timestamptz)
        AND ($23::text[] IS NULL OR EXISTS (
            SELECT
            FROM category_accounts m
            WHERE m.ledger_id = $1::bigint AND m.account_id = accounts_with_balances.account_id
                AND m.category_id = ANY ($23::text[]::uuid[]) AND m.until_position IS NULL
        ))
        AND CASE
            WHEN $3::boolean THEN created_position < $4::bigint
            ELSE created_position > $4::bigint
        END
    LIMIT 1
) AS a
WHERE $19::text[] IS NULL OR NOT EXISTS (
    SELECT
    FROM unnest($19::text[]::smallint[], $20::text[]::smallint[], $21::text[]::numeric[])
        AS d (balance, operator, demanded)
    CROSS JOIN LATERAL (
        SELECT
            CASE WHEN a.normal_balance = 2 THEN 1 ELSE -1 END * (
                a.posted_credits - a.posted_debits
                + CASE WHEN d.balance = 2 OR d.balance = 3 AND a.normal_balance = 1 THEN a.pending_credits ELSE 0 END
                - CASE WHEN d.balance = 2 OR d.balance = 3 AND a.normal_balance = 2 THEN a.pending_debits ELSE 0 END
            ) AS amount
    ) AS b
    WHERE CASE d.operator
        WHEN 1 THEN b.amount < d.demanded
        WHEN 2 THEN b.amount <= d.demanded
        WHEN 3 THEN b.amount = d.demanded
        WHEN 4 THEN b.amount <> d.demanded
        WHEN 5 THEN b.amount >= d.demanded
        WHEN 6 THEN b.amount > d.demanded
    END IS NOT TRUE
)
ORDER BY CASE WHEN $3::boolean THEN - a.created_position ELSE a.created_position END
LIMIT $5::bigint
