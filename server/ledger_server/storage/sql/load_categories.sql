-- Categories with their counters as they stand, by id; not deleted ones.
-- No lock of their own: the ledger's row lock, which every writer of categories holds, is the guard.
-- $1 ledger_id bigint, $2 category_ids text[]
SELECT
    category_id, ledger_id, name, description, normal_balance, currency, currency_exponent, external_id, metadata,
    created_position, created_at, updated_at, deleted_at,
    posted_debits, posted_credits, pending_debits, pending_credits, balance_position
FROM categories_with_balances
WHERE ledger_id = $1::bigint AND category_id = ANY ($2::text[]::uuid[]) AND deleted_position IS NULL
ORDER BY category_id
