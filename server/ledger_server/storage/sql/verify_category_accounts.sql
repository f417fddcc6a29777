-- Accounts in categories into which no event brought them, or out of which none took them. Rows and events are written
-- by one commit, so every snapshot has both, and rows of any position are judged. The deletion of a category touches
-- none.
-- An event that is not a transaction's begins with 0, 0x20 and its kind; a text in it stands behind the number of its
-- field and its length: an account's id behind 'B$', a category's behind 'R$', that of the account which joined or left
-- it right behind it with 'Z$', and those of the categories that a new account was put into behind 'r$'. See
-- events/encode.py.
-- The LIMITs, which cut nothing off, keep the planner from hashing whole tables.
-- $1 ledger_id bigint, $2 position bigint, which does not matter, $3 category_ids text[], $4 account_ids text[],
-- $5 from_positions text[]
WITH pruned AS (
    SELECT coalesce((SELECT position FROM log_checkpoints WHERE ledger_id = $1::bigint), 0) AS position
)
SELECT
    'category_accounts' AS table_name,
    jsonb_build_object('category_id', k.category_id, 'account_id', k.account_id, 'from_position', k.from_position)
        AS row_key,
    t.problem, t.expected, t.found
FROM unnest($3::text[], $4::text[], $5::text[]) AS k (category_id, account_id, from_position)
CROSS JOIN pruned
CROSS JOIN LATERAL (
    SELECT from_position, until_position
    FROM category_accounts
    WHERE ledger_id = $1::bigint AND category_id = k.category_id::uuid AND account_id = k.account_id::uuid
        AND from_position = k.from_position::bigint
    LIMIT 1
) AS m
LEFT JOIN LATERAL (
    SELECT payload, substring(payload FROM 1 FOR 3) AS head
    FROM events
    WHERE ledger_id = $1::bigint AND position = m.from_position
    LIMIT 1
) AS came ON true
LEFT JOIN LATERAL (
    SELECT payload, substring(payload FROM 1 FOR 3) AS head
    FROM events
    WHERE ledger_id = $1::bigint AND position = m.until_position
    LIMIT 1
) AS went ON true
CROSS JOIN LATERAL (
    SELECT convert_to('R$' || k.category_id || 'Z$' || k.account_id, 'UTF8') AS both_ids
) AS b
CROSS JOIN LATERAL (
    VALUES
        (
            'the event by which it came',
            CASE WHEN m.from_position > pruned.position THEN m.from_position::text END,
            CASE
                WHEN came.head = '\x002017' AND position(b.both_ids IN came.payload) > 0
                    OR came.head = '\x002003'
                    AND position(convert_to('B$' || k.account_id, 'UTF8') IN came.payload) > 0
                    AND position(convert_to('r$' || k.category_id, 'UTF8') IN came.payload) > 0
                    THEN m.from_position::text
                WHEN came.payload IS NOT NULL THEN 'an event that does not tell of it'
            END
        ),
        (
            'the event by which it left',
            CASE WHEN m.until_position > pruned.position THEN m.until_position::text END,
            CASE
                WHEN went.head = '\x002018' AND position(b.both_ids IN went.payload) > 0 THEN m.until_position::text
                WHEN went.payload IS NOT NULL THEN 'an event that does not tell of it'
            END
        )
) AS t (problem, expected, found)
WHERE $2::bigint IS NOT NULL AND t.expected IS DISTINCT FROM t.found
ORDER BY k.category_id, k.account_id, k.from_position::bigint
