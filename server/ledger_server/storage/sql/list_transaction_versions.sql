-- The versions of a transaction after one of them and up to another, in order: those that were replaced, and the
-- newest.
-- One of the first two branches is not run.
-- $1 ledger_id bigint, $2 transaction_id uuid, $3 after_version bigint, $4 last_version bigint, $5 descending boolean,
-- $6 row_count bigint, $7 and $8 bounds of the time of writing text, null passes all, the upper one exclusive
SELECT *
FROM (
    (
        SELECT
            transaction_id, ledger_id, version, status, archived_reason, entry_count, first_entry_id, position,
            created_position, created_at, updated_at, effective_at, posted_at, description, external_id, metadata,
            expires_at, reverses_id, partially_posts_id
        FROM transaction_versions
        WHERE NOT $5::boolean AND ledger_id = $1::bigint AND transaction_id = $2::uuid
            AND version > $3::bigint AND version <= $4::bigint
            AND ($7::text IS NULL OR updated_at >= $7::text::timestamptz)
            AND ($8::text IS NULL OR updated_at < $8::text::timestamptz)
        ORDER BY version
        LIMIT $6::bigint
    )
    UNION ALL
    (
        SELECT
            transaction_id, ledger_id, version, status, archived_reason, entry_count, first_entry_id, position,
            created_position, created_at, updated_at, effective_at, posted_at, description, external_id, metadata,
            expires_at, reverses_id, partially_posts_id
        FROM transaction_versions
        WHERE $5::boolean AND ledger_id = $1::bigint AND transaction_id = $2::uuid
            AND version < $3::bigint AND version >= $4::bigint
            AND ($7::text IS NULL OR updated_at >= $7::text::timestamptz)
            AND ($8::text IS NULL OR updated_at < $8::text::timestamptz)
        ORDER BY version DESC
        LIMIT $6::bigint
    )
    UNION ALL
    SELECT
        transaction_id, ledger_id, version, status, archived_reason, entry_count, first_entry_id, position,
        created_position, created_at, updated_at, effective_at, posted_at, description, external_id, metadata,
        expires_at, reverses_id, partially_posts_id
    FROM transactions
    WHERE ledger_id = $1::bigint AND transaction_id = $2::uuid
        AND CASE
            WHEN $5::boolean THEN version < $3::bigint AND version >= $4::bigint
            ELSE version > $3::bigint AND version <= $4::bigint
        END
        AND ($7::text IS NULL OR updated_at >= $7::text::timestamptz)
        AND ($8::text IS NULL OR updated_at < $8::text::timestamptz)
) AS versions
ORDER BY CASE WHEN $5::boolean THEN - version ELSE version END
LIMIT $6::bigint
