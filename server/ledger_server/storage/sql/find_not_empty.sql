-- An account of a ledger whose posted amount is not zero or on which something is pending, or that a pending
-- transaction of zeroes touches; no row if there is none. It reads all accounts, once in the life of a ledger.
-- $1 ledger_id bigint
(
    SELECT account_id
    FROM accounts_with_balances
    WHERE ledger_id = $1::bigint AND created_position > 0
        AND (posted_debits <> posted_credits OR pending_debits > 0 OR pending_credits > 0)
    LIMIT 1
)
UNION ALL
(
    SELECT e.account_id
    FROM (
        SELECT first_entry_id
        FROM transactions
        WHERE ledger_id = $1::bigint AND archived_reason = 0 AND posted_at IS NULL
        LIMIT 1
    ) AS t
    CROSS JOIN LATERAL (
        SELECT account_id
        FROM entries
        WHERE ledger_id = $1::bigint AND entry_id = t.first_entry_id
        LIMIT 1
    ) AS e
)
LIMIT 1
