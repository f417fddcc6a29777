-- Transactions that touched an account first at one of a range of its lock_versions, newest first. Lock_versions have no
-- gaps, so the range bounds the work, on an account of any size.
-- A version was written by the transaction's creation, or else the transaction touched the account before if one of its
-- earlier versions wrote an entry on it. A partial post also moves accounts that its posted part leaves out.
-- The LIMITs, which cut nothing off, tell the planner how few rows there are.
-- $1 ledger_id uuid, $2 account_id uuid, $3 before_version bigint, $4 last_version bigint, $5 statuses text[],
-- $6 metadata jsonb, $7 row_count bigint
SELECT
    v.lock_version,
    t.transaction_id, t.ledger_id, t.version, t.status, t.archived_reason, t.entry_count, t.first_entry_id, t.position,
    t.created_position, t.created_at, t.updated_at, t.effective_at, t.posted_at, t.description, t.external_id, t.metadata,
    t.expires_at, t.reverses_id, t.partially_posts_id
FROM account_versions v
CROSS JOIN LATERAL (
    SELECT *
    FROM transactions
    WHERE ledger_id = $1::uuid AND transaction_id = v.transaction_id
    LIMIT 1
) AS t
WHERE v.ledger_id = $1::uuid AND v.account_id = $2::uuid
    AND v.lock_version < $3::bigint AND v.lock_version >= $4::bigint
    AND t.status = ANY ($5::text[]::smallint[])
    AND t.metadata @> $6::jsonb
    AND CASE
        WHEN t.created_position = v.position THEN
            t.partially_posts_id IS NULL
            OR EXISTS (
                SELECT
                FROM entries e
                WHERE e.ledger_id = $1::uuid
                    AND e.entry_id BETWEEN t.first_entry_id
                        AND overlay(t.first_entry_id::text PLACING 'fff' FROM 34)::uuid
                    AND e.account_id = $2::uuid
            )
        ELSE
            NOT EXISTS (
                SELECT
                FROM transaction_versions w
                CROSS JOIN LATERAL (
                    SELECT account_id
                    FROM entries
                    WHERE ledger_id = $1::uuid
                        AND entry_id BETWEEN w.first_entry_id
                            AND overlay(w.first_entry_id::text PLACING 'fff' FROM 34)::uuid
                    LIMIT 1000
                ) AS e
                WHERE w.ledger_id = $1::uuid AND w.transaction_id = v.transaction_id AND w.position < v.position
                    AND e.account_id = $2::uuid
            )
    END
ORDER BY v.lock_version DESC
LIMIT $7::bigint
