-- Where a ledger's log begins and ends, when it last stood at a position, and which accounts and categories it does not
-- have. A deleted category is there for whoever comes from a position, who may not have read to its end.
-- The oldest event comes by ORDER BY … LIMIT 1, one step in the primary key, however long the log is.
-- Each is looked for by itself, in a subquery for a value, because the planner may answer a join with a hash of all.
-- $1 ledger_id bigint, $2 account_ids text[], $3 after_position bigint or null, $4 category_ids text[]
SELECT
    position, epoch, deleted_at IS NOT NULL AS is_deleted,
    -- It stood at a position until the event after that. No event is after one of the future, and the last bigint has
    -- no next one.
    coalesce(
        (
            SELECT e.time FROM events e
            WHERE e.ledger_id = $1::bigint
            AND e.position = CASE WHEN $3::bigint < ledgers.position THEN $3::bigint + 1 END
        ),
        greatest(statement_timestamp(), event_time)
    ) AS time,
    (SELECT e.position FROM events e WHERE e.ledger_id = $1::bigint ORDER BY e.position LIMIT 1) AS oldest_position,
    ARRAY(
        SELECT asked.account_id
        FROM unnest($2::text[]) AS asked (account_id)
        WHERE (
            SELECT a.account_id
            FROM accounts a
            WHERE a.ledger_id = $1::bigint AND a.account_id = asked.account_id::uuid
        ) IS NULL
        ORDER BY asked.account_id
    ) AS unknown_account_ids,
    ARRAY(
        SELECT asked.category_id
        FROM unnest($4::text[]) AS asked (category_id)
        WHERE (
            SELECT c.category_id
            FROM categories c
            WHERE c.ledger_id = $1::bigint AND c.category_id = asked.category_id::uuid
                AND (c.deleted_position IS NULL OR $3::bigint IS NOT NULL)
        ) IS NULL
        ORDER BY asked.category_id
    ) AS unknown_category_ids
FROM ledgers
WHERE ledger_id = $1::bigint
