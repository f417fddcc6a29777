-- The pending transactions that had an entry of 0 on one of some accounts.
-- The LIMITs, which cut nothing off, say how few rows there are.
-- $1 ledger_id bigint, $2 account_ids text[], $3 external_ids of accounts text[]
SELECT DISTINCT t.transaction_id
FROM (
    SELECT account_id FROM unnest($2::text[]::uuid[]) AS a (account_id)
    UNION ALL
    SELECT a.account_id
    FROM unnest($3::text[]) AS x (external_id)
    CROSS JOIN LATERAL (
        SELECT account_id
        FROM accounts
        WHERE ledger_id = $1::bigint AND external_id = x.external_id AND deleted_at IS NULL
        LIMIT 1
    ) AS a
) AS asked
CROSS JOIN LATERAL (
    SELECT transaction_id
    FROM entries
    WHERE ledger_id = $1::bigint AND account_id = asked.account_id AND amount = 0 AND status = 1
    ORDER BY account_id
) AS e
CROSS JOIN LATERAL (
    SELECT transaction_id
    FROM transactions
    WHERE ledger_id = $1::bigint AND transaction_id = e.transaction_id AND status = 1
    LIMIT 1
) AS t
