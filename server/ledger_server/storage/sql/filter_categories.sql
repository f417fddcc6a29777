-- Those of some categories that pass the filters, oldest first, after one of them; not deleted ones.
-- They come from whichever index finds them; everything asked for is looked at here, in the rows themselves.
-- $1 ledger_id bigint, $2 created_positions text, an array literal, $3 after_position bigint, $4 row_count bigint; then
-- filters, of which null passes all: $5 category_ids text[], $6 names text[], as patterns of ILIKE, $7 currency text,
-- $8 normal_balance smallint, $9 external_id text, $10 metadata jsonb, $11 metadata_path text,
-- $12 metadata_variables jsonb, $13 balances text[], $14 operators text[], $15 amounts text[]
SELECT
    k.category_id, k.ledger_id, k.name, k.description, k.normal_balance, k.currency, k.currency_exponent,
    k.external_id, k.metadata, k.created_position, k.created_at, k.updated_at, k.deleted_at,
    k.posted_debits, k.posted_credits, k.pending_debits, k.pending_credits, k.balance_position
FROM unnest($2::text::bigint[]) AS c (created_position)
CROSS JOIN LATERAL (
    SELECT *
    FROM categories_with_balances
    WHERE ledger_id = $1::bigint AND created_position = c.created_position AND created_position > $3::bigint
        AND deleted_position IS NULL
        AND ($5::text[] IS NULL OR category_id IN (SELECT unnest($5::text[]::uuid[])))
        AND ($6::text[] IS NULL OR name ILIKE ANY ($6::text[]))
        AND ($7::text IS NULL OR currency = $7::text)
        AND ($8::smallint IS NULL OR normal_balance = $8::smallint)
        AND ($9::text IS NULL OR external_id = $9::text)
        AND ($10::jsonb IS NULL OR metadata @> $10::jsonb)
        AND ($11::text IS NULL OR jsonb_path_match(metadata, $11::text::jsonpath, $12::jsonb))
    LIMIT 1
) AS k
WHERE $13::text[] IS NULL OR NOT EXISTS (
    SELECT
    FROM unnest($13::text[]::smallint[], $14::text[]::smallint[], $15::text[]::numeric[])
        AS d (balance, operator, demanded)
    CROSS JOIN LATERAL (
        SELECT
            CASE WHEN k.normal_balance = 2 THEN 1 ELSE -1 END * (
                k.posted_credits - k.posted_debits
                + CASE WHEN d.balance = 2 OR d.balance = 3 AND k.normal_balance = 1 THEN k.pending_credits ELSE 0 END
                - CASE WHEN d.balance = 2 OR d.balance = 3 AND k.normal_balance = 2 THEN k.pending_debits ELSE 0 END
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
ORDER BY k.created_position
LIMIT $4::bigint
