-- What is wrong with accounts that were created up to a position: by their first version, by the event that created
-- them, by their currency's exponent, which is ISO's or fixed by the ledger, and by the history of their limits.
-- $1 ledger_id bigint, $2 position bigint, $3 account_ids text[], $4 iso_exponents jsonb
WITH pruned AS (
    SELECT coalesce((SELECT position FROM log_checkpoints WHERE ledger_id = $1::bigint), 0) AS position
)
SELECT
    'accounts' AS table_name, jsonb_build_object('account_id', k.account_id) AS row_key, t.problem, t.expected, t.found
FROM unnest($3::text[]) AS k (account_id)
CROSS JOIN pruned
CROSS JOIN LATERAL (
    SELECT *
    FROM accounts
    WHERE ledger_id = $1::bigint AND account_id = k.account_id::uuid
    LIMIT 1
) AS a
LEFT JOIN LATERAL (
    SELECT position
    FROM account_versions
    WHERE ledger_id = $1::bigint AND account_id = a.account_id AND lock_version = 0
    LIMIT 1
) AS v ON true
LEFT JOIN LATERAL (
    SELECT position, time, payload
    FROM events
    WHERE ledger_id = $1::bigint AND position = a.created_position
    LIMIT 1
) AS e ON true
LEFT JOIN LATERAL (
    SELECT currency_exponent::text AS exponent
    FROM currencies
    WHERE ledger_id = $1::bigint AND currency = a.currency
    LIMIT 1
) AS c ON true
LEFT JOIN LATERAL (
    SELECT limits
    FROM account_limits
    WHERE ledger_id = $1::bigint AND account_id = a.account_id
    ORDER BY position DESC
    LIMIT 1
) AS h ON true
CROSS JOIN LATERAL (
    VALUES
        ('its version 0', a.created_position::text, v.position::text),
        (
            'its event',
            CASE WHEN a.created_position > pruned.position THEN a.created_position::text END,
            CASE
                WHEN position(convert_to(a.account_id::text, 'UTF8') IN e.payload) > 0 THEN a.created_position::text
                WHEN e.position IS NOT NULL THEN 'an event that does not tell of it'
            END
        ),
        ('created_at, the time of its event', coalesce(e.time, a.created_at)::text, a.created_at::text),
        (
            'currency_exponent',
            CASE
                WHEN a.currency_exponent::text IN (c.exponent, $4::jsonb ->> a.currency)
                    THEN a.currency_exponent::text
                ELSE coalesce(c.exponent, $4::jsonb ->> a.currency, 'one that the ledger fixed')
            END,
            a.currency_exponent::text
        ),
        ('limits, the newest of their history', h.limits::text, a.limits::text)
) AS t (problem, expected, found)
WHERE a.created_position <= $2::bigint AND t.expected IS DISTINCT FROM t.found
ORDER BY k.account_id
