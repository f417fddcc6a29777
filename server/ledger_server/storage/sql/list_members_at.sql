-- The accounts that were directly in some categories at a position, each once, in the first of them that it was in: a
-- page after a category and an account.
-- $1 ledger_id uuid, $2 category_ids text[], $3 position bigint, $4 after_category_id uuid, $5 after_account_id uuid,
-- $6 row_count bigint
SELECT asked.category_id, m.account_id
FROM unnest($2::text[]::uuid[]) AS asked (category_id)
CROSS JOIN LATERAL (
    SELECT account_id
    FROM category_accounts c
    WHERE c.ledger_id = $1::uuid AND c.category_id = asked.category_id AND c.from_position <= $3::bigint
        AND (c.until_position IS NULL OR c.until_position > $3::bigint)
        AND (c.category_id > $4::uuid OR c.account_id > $5::uuid)
        AND NOT EXISTS (
            SELECT
            FROM category_accounts o
            WHERE o.ledger_id = $1::uuid AND o.account_id = c.account_id AND o.category_id = ANY ($2::text[]::uuid[])
                AND o.category_id < asked.category_id AND o.from_position <= $3::bigint
                AND (o.until_position IS NULL OR o.until_position > $3::bigint)
        )
    ORDER BY account_id
    LIMIT $6::bigint
) AS m
WHERE asked.category_id >= $4::uuid
ORDER BY asked.category_id, m.account_id
LIMIT $6::bigint
