-- The categories of one bite that pass the filters, oldest first; not deleted ones.
-- A bite is a range of created positions with a bounded number of categories, so any plan along the range will do.
-- $1 ledger_id uuid, $2 after_position bigint, $3 last_position bigint
-- $4 currency text or null, $5 normal_balance smallint or null, $6 external_id text or null, $7 part of the
-- name text, "" for any, $8 metadata jsonb, $9 row_count bigint
SELECT
    category_id, ledger_id, name, description, normal_balance, currency, currency_exponent, external_id, metadata,
    created_position, created_at, updated_at, deleted_at,
    posted_debits, posted_credits, pending_debits, pending_credits, balance_position
FROM categories_with_balances
WHERE ledger_id = $1::uuid AND created_position > $2::bigint AND created_position <= $3::bigint
    AND deleted_position IS NULL
    AND ($4::text IS NULL OR currency = $4::text)
    AND ($5::smallint IS NULL OR normal_balance = $5::smallint)
    AND ($6::text IS NULL OR external_id = $6::text)
    AND strpos(lower(name), lower($7::text)) > 0
    AND metadata @> $8::jsonb
ORDER BY created_position
LIMIT $9::bigint
