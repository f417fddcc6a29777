-- Versions of categories with the counters before and after, and what balances are made of; a row for each that exists.
-- The LIMITs, which cut nothing off but what is older, say how few rows there are.
-- $1 ledger_id bigint, $2 category_ids text[], $3 positions text[]
SELECT
    v.category_id, v.position, v.posted_debits, v.posted_credits, v.pending_debits, v.pending_credits,
    b.posted_debits AS before_posted_debits, b.posted_credits AS before_posted_credits,
    b.pending_debits AS before_pending_debits, b.pending_credits AS before_pending_credits,
    c.normal_balance, c.currency, c.currency_exponent
FROM unnest($2::text[], $3::text[]) AS k (category_id, position)
CROSS JOIN LATERAL (
    SELECT *
    FROM category_versions
    WHERE ledger_id = $1::bigint AND category_id = k.category_id::uuid AND position = k.position::bigint
    LIMIT 1
) AS v
CROSS JOIN LATERAL (
    SELECT *
    FROM category_versions
    WHERE ledger_id = $1::bigint AND category_id = k.category_id::uuid AND position < k.position::bigint
    ORDER BY position DESC
    LIMIT 1
) AS b
CROSS JOIN LATERAL (
    SELECT normal_balance, currency, currency_exponent
    FROM categories
    WHERE ledger_id = $1::bigint AND category_id = k.category_id::uuid
    LIMIT 1
) AS c
