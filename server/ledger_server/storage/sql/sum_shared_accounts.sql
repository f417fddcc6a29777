-- The counters, as of a position, of those of some accounts that were then directly in categories of two sets.
-- The arrays are made once, in subqueries, and not for each account. A version is found by walking back from the
-- newest: the position is one of minutes ago at most.
-- $1 ledger_id bigint, $2 account_ids text[], each once, $3 category_ids text[] of the one set, $4 category_ids text[]
-- of the other, $5 position bigint
SELECT
    coalesce(sum(v.posted_debits), 0) AS posted_debits, coalesce(sum(v.posted_credits), 0) AS posted_credits,
    coalesce(sum(v.pending_debits), 0) AS pending_debits, coalesce(sum(v.pending_credits), 0) AS pending_credits
FROM unnest($2::text[]::uuid[]) AS asked (account_id)
CROSS JOIN LATERAL (
    SELECT array_agg(category_id) AS category_ids
    FROM category_accounts
    WHERE ledger_id = $1::bigint AND account_id = asked.account_id AND from_position <= $5::bigint
        AND (until_position IS NULL OR until_position > $5::bigint)
) AS direct
CROSS JOIN LATERAL (
    SELECT posted_debits, posted_credits, pending_debits, pending_credits
    FROM account_versions
    WHERE ledger_id = $1::bigint AND account_id = asked.account_id AND position <= $5::bigint
    ORDER BY lock_version DESC
    LIMIT 1
) AS v
WHERE direct.category_ids && (SELECT $3::text[]::uuid[]) AND direct.category_ids && (SELECT $4::text[]::uuid[])
