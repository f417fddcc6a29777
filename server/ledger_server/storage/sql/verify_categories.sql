-- What is wrong with categories: by their first version, by the events that created and deleted them, and by their
-- currency's exponent, which is ISO's or fixed by the ledger. Rows and events are written by one commit, so every
-- snapshot has both. For how an event tells of a category see verify_category_accounts.sql.
-- The LIMITs, which cut nothing off, keep the planner from hashing whole tables.
-- $1 ledger_id bigint, $2 position bigint, which does not matter, $3 category_ids text[], $4 iso_exponents jsonb
WITH pruned AS (
    SELECT coalesce((SELECT position FROM log_checkpoints WHERE ledger_id = $1::bigint), 0) AS position
)
SELECT
    'categories' AS table_name, jsonb_build_object('category_id', k.category_id) AS row_key,
    t.problem, t.expected, t.found
FROM unnest($3::text[]) AS k (category_id)
CROSS JOIN pruned
CROSS JOIN LATERAL (
    SELECT *
    FROM categories
    WHERE ledger_id = $1::bigint AND category_id = k.category_id::uuid
    LIMIT 1
) AS c
LEFT JOIN LATERAL (
    SELECT position
    FROM category_versions
    WHERE ledger_id = $1::bigint AND category_id = c.category_id AND position = c.created_position
    LIMIT 1
) AS v ON true
LEFT JOIN LATERAL (
    SELECT time, payload
    FROM events
    WHERE ledger_id = $1::bigint AND position = c.created_position
    LIMIT 1
) AS created ON true
LEFT JOIN LATERAL (
    SELECT time, payload
    FROM events
    WHERE ledger_id = $1::bigint AND position = c.deleted_position
    LIMIT 1
) AS deleted ON true
LEFT JOIN LATERAL (
    SELECT currency_exponent::text AS exponent
    FROM currencies
    WHERE ledger_id = $1::bigint AND currency = c.currency
    LIMIT 1
) AS x ON true
CROSS JOIN LATERAL (
    VALUES
        ('its first version', c.created_position::text, v.position::text),
        (
            'its event',
            CASE WHEN c.created_position > pruned.position THEN c.created_position::text END,
            CASE
                WHEN substring(created.payload FROM 1 FOR 3) = '\x002014'
                    AND position(convert_to('R$' || k.category_id, 'UTF8') IN created.payload) > 0
                    THEN c.created_position::text
                WHEN created.payload IS NOT NULL THEN 'an event that does not tell of it'
            END
        ),
        ('created_at, the time of its event', coalesce(created.time, c.created_at)::text, c.created_at::text),
        (
            'the event of its deletion',
            CASE WHEN c.deleted_position > pruned.position THEN c.deleted_position::text END,
            CASE
                WHEN substring(deleted.payload FROM 1 FOR 3) = '\x002016'
                    AND position(convert_to('R$' || k.category_id, 'UTF8') IN deleted.payload) > 0
                    THEN c.deleted_position::text
                WHEN deleted.payload IS NOT NULL THEN 'an event that does not tell of it'
            END
        ),
        ('deleted_at, the time of its event', coalesce(deleted.time, c.deleted_at)::text, c.deleted_at::text),
        (
            'currency_exponent',
            CASE
                WHEN c.currency_exponent::text IN (x.exponent, $4::jsonb ->> c.currency)
                    THEN c.currency_exponent::text
                ELSE coalesce(x.exponent, $4::jsonb ->> c.currency, 'one that the ledger fixed')
            END,
            c.currency_exponent::text
        )
) AS t (problem, expected, found)
WHERE $2::bigint IS NOT NULL AND t.expected IS DISTINCT FROM t.found
ORDER BY k.category_id
