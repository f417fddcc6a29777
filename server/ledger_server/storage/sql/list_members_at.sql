-- The accounts that were directly in some categories at a position: a page after a category and an account. An account
-- that was in several comes with each of them, but is the first only with one.
-- What comes after the last page's end is a range of the key, category by category. Nothing is left out of a page, so
-- none takes long to fill.
-- $1 ledger_id bigint, $2 category_ids text[], $3 position bigint, $4 after_category_id uuid, $5 after_account_id uuid,
-- $6 row_count bigint
WITH page AS (
    SELECT asked.category_id, m.account_id
    FROM (
        SELECT category_id
        FROM unnest($2::text[]::uuid[]) AS a (category_id)
        WHERE category_id >= $4::uuid
        ORDER BY category_id
    ) AS asked
    CROSS JOIN LATERAL (
        SELECT account_id
        FROM category_accounts
        WHERE ledger_id = $1::bigint AND category_id = asked.category_id AND from_position <= $3::bigint
            AND (until_position IS NULL OR until_position > $3::bigint)
            AND account_id > CASE WHEN asked.category_id = $4::uuid THEN $5::uuid
                ELSE '00000000-0000-0000-0000-000000000000'::uuid END
        ORDER BY account_id
        LIMIT $6::bigint
    ) AS m
    ORDER BY asked.category_id, m.account_id
    LIMIT $6::bigint
)
SELECT
    category_id, account_id,
    NOT EXISTS (
        SELECT
        FROM category_accounts o
        WHERE o.ledger_id = $1::bigint AND o.account_id = page.account_id AND o.category_id < page.category_id
            AND o.from_position <= $3::bigint AND (o.until_position IS NULL OR o.until_position > $3::bigint)
            AND ARRAY[o.category_id] <@ (SELECT $2::text[]::uuid[])
    ) AS is_first
FROM page
ORDER BY category_id, account_id
