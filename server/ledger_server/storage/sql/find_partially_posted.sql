-- The pending transactions that these ones posted a part of.
-- $1 ledger_id uuid, $2 transaction_ids text[]
SELECT transaction_id, partially_posts_id
FROM transactions
WHERE ledger_id = $1::uuid AND transaction_id = ANY ($2::text[]::uuid[])
