-- What a part of the accounts under a category add up to, as of a position: those after an id, each once however many
-- ways lead to it, and each by its last version not after the position.
-- The first so many of each nested category are enough to know the first so many of all.
-- The arrays make the planner look for each by itself, instead of each among all, and expect a few.
-- $1 ledger_id bigint, $2 category_id uuid, $3 position bigint, $4 after_account_id uuid, $5 row_count bigint
WITH RECURSIVE nested (category_id) AS (
    SELECT $2::uuid
    UNION
    SELECT n.member_category_id
    FROM nested
    CROSS JOIN LATERAL unnest(ARRAY(
        SELECT member_category_id
        FROM category_nestings
        WHERE ledger_id = $1::bigint AND category_id = nested.category_id AND from_position <= $3::bigint
            AND (until_position IS NULL OR until_position > $3::bigint)
    )) AS n (member_category_id)
    CROSS JOIN LATERAL (
        SELECT
        FROM categories
        WHERE ledger_id = $1::bigint AND category_id = n.member_category_id
            AND (deleted_position IS NULL OR deleted_position > $3::bigint)
        LIMIT 1
    ) AS c
),
part AS (
    SELECT DISTINCT a.account_id
    FROM nested
    CROSS JOIN LATERAL (
        SELECT account_id
        FROM category_accounts
        WHERE ledger_id = $1::bigint AND category_id = nested.category_id AND account_id > $4::uuid
            AND from_position <= $3::bigint AND (until_position IS NULL OR until_position > $3::bigint)
        ORDER BY account_id
        LIMIT $5::bigint
    ) AS a
    ORDER BY a.account_id
    LIMIT $5::bigint
)
SELECT
    count(*) AS account_count, max(part.account_id::text) AS last_account_id,
    coalesce(sum(v.posted_debits), 0) AS posted_debits, coalesce(sum(v.posted_credits), 0) AS posted_credits,
    coalesce(sum(v.pending_debits), 0) AS pending_debits, coalesce(sum(v.pending_credits), 0) AS pending_credits
FROM part
LEFT JOIN LATERAL (
    SELECT posted_debits, posted_credits, pending_debits, pending_credits
    FROM account_versions
    WHERE ledger_id = $1::bigint AND account_id = part.account_id AND position <= $3::bigint
    ORDER BY lock_version DESC
    LIMIT 1
) AS v ON true
