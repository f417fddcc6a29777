-- The pending transactions that these ones posted a part of.
-- $1 ledger_id bigint, $2 transaction_ids text[]
SELECT transaction_id, partially_posts_id
FROM transactions
WHERE ledger_id = $1::bigint AND transaction_id = ANY ($2::text[]::uuid[])
