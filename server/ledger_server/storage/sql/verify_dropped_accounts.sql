-- Accounts that a version of a transaction dropped from the one before, and that have no version of their own for it.
-- An account's versions are in the order of positions, so the one of a position is found by halving a range of them.
-- $1 ledger_id bigint, $2 position bigint, $3 transaction_ids text[], $4 versions text[]
SELECT
    'account_versions' AS table_name,
    jsonb_build_object('account_id', d.account_id, 'position', w.position::text) AS row_key,
    'the version that transaction ' || k.transaction_id || ' wrote' AS problem,
    'a version of this position' AS expected, NULL AS found
FROM unnest($3::text[], $4::text[]) AS k (transaction_id, version)
CROSS JOIN LATERAL (
    SELECT *
    FROM (
        SELECT version, first_entry_id, position, transaction_id
        FROM transactions
        WHERE ledger_id = $1::bigint AND transaction_id = k.transaction_id::uuid AND version = k.version::bigint
        UNION ALL
        SELECT version, first_entry_id, position, transaction_id
        FROM transaction_versions
        WHERE ledger_id = $1::bigint AND transaction_id = k.transaction_id::uuid AND version = k.version::bigint
    ) AS either
    LIMIT 1
) AS w
CROSS JOIN LATERAL (
    SELECT first_entry_id
    FROM transaction_versions
    WHERE ledger_id = $1::bigint AND transaction_id = w.transaction_id AND version = w.version - 1 AND status = 1
    LIMIT 1
) AS o
CROSS JOIN LATERAL (
    SELECT r.account_id, max(r.account_lock_version) AS lock_version
    FROM (
        SELECT account_id, account_lock_version
        FROM entries
        WHERE ledger_id = $1::bigint
            AND entry_id BETWEEN o.first_entry_id AND o.first_entry_id + 4095
        LIMIT 4096
    ) AS r
    WHERE r.account_id NOT IN (
        SELECT account_id
        FROM entries
        WHERE ledger_id = $1::bigint
            AND entry_id BETWEEN w.first_entry_id AND w.first_entry_id + 4095
        LIMIT 4096
    )
    GROUP BY r.account_id
) AS d
WHERE w.position <= $2::bigint AND w.first_entry_id <> o.first_entry_id
    AND NOT EXISTS (
        WITH RECURSIVE narrowed (low, high) AS (
            SELECT
                d.lock_version,
                (
                    SELECT lock_version
                    FROM account_versions
                    WHERE ledger_id = $1::bigint AND account_id = d.account_id
                    ORDER BY lock_version DESC
                    LIMIT 1
                )
            UNION ALL
            SELECT
                CASE WHEN m.position < w.position THEN m.lock_version + 1 ELSE narrowed.low END,
                CASE WHEN m.position < w.position THEN narrowed.high ELSE m.lock_version END
            FROM narrowed
            CROSS JOIN LATERAL (
                SELECT lock_version, position
                FROM account_versions
                WHERE ledger_id = $1::bigint AND account_id = d.account_id
                    AND lock_version = (narrowed.low + narrowed.high) / 2
                LIMIT 1
            ) AS m
            WHERE narrowed.low < narrowed.high
        )
        SELECT
        FROM narrowed
        CROSS JOIN LATERAL (
            SELECT
            FROM account_versions
            WHERE ledger_id = $1::bigint AND account_id = d.account_id AND lock_version = narrowed.low
                AND position = w.position
            LIMIT 1
        ) AS found
        WHERE narrowed.low = narrowed.high
    )
ORDER BY d.account_id
