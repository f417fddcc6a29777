-- How many accounts are directly in the categories of two sets, counted up to a limit; an account may count twice.
-- $1 ledger_id bigint, $2 category_ids text[] of the one set, $3 category_ids text[] of the other, $4 most bigint
SELECT
    (
        SELECT count(*)
        FROM (
            SELECT FROM category_accounts
            WHERE ledger_id = $1::bigint AND category_id = ANY ($2::text[]::uuid[]) AND until_position IS NULL
            LIMIT $4::bigint
        ) AS counted
    ) AS ones,
    (
        SELECT count(*)
        FROM (
            SELECT FROM category_accounts
            WHERE ledger_id = $1::bigint AND category_id = ANY ($3::text[]::uuid[]) AND until_position IS NULL
            LIMIT $4::bigint
        ) AS counted
    ) AS others
