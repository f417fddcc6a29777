-- Whether any version of a transaction wrote an entry on an account.
-- From the transaction's side, whose entries are few, not from the account's; the LIMIT tells the planner how few.
-- $1 ledger_id uuid, $2 transaction_id uuid, $3 account_id uuid
SELECT EXISTS (
    SELECT
    FROM (
        SELECT first_entry_id
        FROM transactions
        WHERE ledger_id = $1::uuid AND transaction_id = $2::uuid
        UNION
        SELECT first_entry_id
        FROM transaction_versions
        WHERE ledger_id = $1::uuid AND transaction_id = $2::uuid
    ) AS s
    CROSS JOIN LATERAL (
        SELECT account_id
        FROM entries
        WHERE ledger_id = $1::uuid
            AND entry_id BETWEEN s.first_entry_id AND overlay(s.first_entry_id::text PLACING 'fff' FROM 34)::uuid
        LIMIT 1000
    ) AS e
    WHERE e.account_id = $3::uuid
)
