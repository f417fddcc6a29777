-- The counters of the accounts that are directly in categories of two sets, each account once, as they stand.
-- $1 ledger_id uuid, $2 category_ids text[] of the one set, $3 category_ids text[] of the other; of no deleted ones
SELECT
    coalesce(sum(v.posted_debits), 0) AS posted_debits, coalesce(sum(v.posted_credits), 0) AS posted_credits,
    coalesce(sum(v.pending_debits), 0) AS pending_debits, coalesce(sum(v.pending_credits), 0) AS pending_credits
FROM (
    SELECT DISTINCT m.account_id
    FROM category_accounts m
    WHERE m.ledger_id = $1::uuid AND m.category_id = ANY ($2::text[]::uuid[]) AND m.until_position IS NULL
        AND EXISTS (
            SELECT
            FROM category_accounts o
            WHERE o.ledger_id = $1::uuid AND o.account_id = m.account_id AND o.category_id = ANY ($3::text[]::uuid[])
                AND o.until_position IS NULL
        )
) AS shared
CROSS JOIN LATERAL (
    SELECT posted_debits, posted_credits, pending_debits, pending_credits
    FROM account_versions
    WHERE ledger_id = $1::uuid AND account_id = shared.account_id
    ORDER BY lock_version DESC
    LIMIT 1
) AS v
