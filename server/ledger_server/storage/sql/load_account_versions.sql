-- Versions of accounts with the counters before and after, and what balances are made of; a row for each that exists.
-- The LIMITs, which cut nothing off, say how few rows there are.
-- $1 ledger_id bigint, $2 account_ids text[], $3 lock_versions text[]
SELECT
    v.account_id, v.lock_version, v.position, v.transaction_id,
    v.posted_debits, v.posted_credits, v.pending_debits, v.pending_credits,
    b.posted_debits AS before_posted_debits, b.posted_credits AS before_posted_credits,
    b.pending_debits AS before_pending_debits, b.pending_credits AS before_pending_credits,
    a.normal_balance, a.currency, a.currency_exponent
FROM unnest($2::text[], $3::text[]) AS k (account_id, lock_version)
CROSS JOIN LATERAL (
    SELECT *
    FROM account_versions
    WHERE ledger_id = $1::bigint AND account_id = k.account_id::uuid AND lock_version = k.lock_version::bigint
    LIMIT 1
) AS v
CROSS JOIN LATERAL (
    SELECT *
    FROM account_versions
    WHERE ledger_id = $1::bigint AND account_id = k.account_id::uuid AND lock_version = k.lock_version::bigint - 1
    LIMIT 1
) AS b
CROSS JOIN LATERAL (
    SELECT normal_balance, currency, currency_exponent
    FROM accounts
    WHERE ledger_id = $1::bigint AND account_id = k.account_id::uuid
    LIMIT 1
) AS a
