-- What is wrong with versions of transactions, the newest or replaced ones, up to a position.
-- A version is judged by itself, by its neighbours, by its event and by the entries it wrote, which are one range of
-- ids. The LIMITs, which cut nothing off, keep the planner from hashing whole tables.
-- $1 ledger_id bigint, $2 position bigint, $3 transaction_ids text[], $4 versions text[]
WITH pruned AS (
    SELECT coalesce((SELECT position FROM log_checkpoints WHERE ledger_id = $1::bigint), 0) AS position
)
SELECT
    'transactions' AS table_name,
    jsonb_build_object('transaction_id', k.transaction_id, 'version', k.version) AS row_key,
    t.problem, t.expected, t.found
FROM unnest($3::text[], $4::text[]) AS k (transaction_id, version)
CROSS JOIN pruned
CROSS JOIN LATERAL (
    SELECT *
    FROM (
        SELECT
            version, status, entry_count, first_entry_id, position, created_position, created_at, updated_at,
            posted_at, transaction_id, reverses_id, partially_posts_id, amount
        FROM transactions
        WHERE ledger_id = $1::bigint AND transaction_id = k.transaction_id::uuid AND version = k.version::bigint
        UNION ALL
        SELECT
            version, status, entry_count, first_entry_id, position, created_position, created_at, updated_at,
            posted_at, transaction_id, reverses_id, partially_posts_id, NULL
        FROM transaction_versions
        WHERE ledger_id = $1::bigint AND transaction_id = k.transaction_id::uuid AND version = k.version::bigint
    ) AS either
    LIMIT 1
) AS w
LEFT JOIN LATERAL (
    SELECT version
    FROM transactions
    WHERE ledger_id = $1::bigint AND transaction_id = w.transaction_id
    LIMIT 1
) AS newest ON true
LEFT JOIN LATERAL (
    SELECT
        version, status, entry_count, first_entry_id, position, created_position, created_at, posted_at, reverses_id,
        partially_posts_id
    FROM transaction_versions
    WHERE ledger_id = $1::bigint AND transaction_id = w.transaction_id AND version = w.version - 1
    LIMIT 1
) AS o ON true
LEFT JOIN LATERAL (
    SELECT version
    FROM transaction_versions
    WHERE ledger_id = $1::bigint AND transaction_id = w.transaction_id AND version = w.version + 1
    LIMIT 1
) AS n ON true
LEFT JOIN LATERAL (
    SELECT position, time, payload
    FROM events
    WHERE ledger_id = $1::bigint AND position = w.position
    LIMIT 1
) AS e ON true
-- What a partial post leaves of a pending transaction has the event of the part.
LEFT JOIN LATERAL (
    SELECT transaction_id
    FROM transactions
    WHERE ledger_id = $1::bigint AND created_position = w.position AND partially_posts_id = w.transaction_id
    LIMIT 1
) AS part ON true
LEFT JOIN LATERAL (
    SELECT
        sum(lines)::bigint AS lines, max(last_number) AS last_number,
        coalesce(string_agg(excess || ' ' || coalesce(currency, 'of no account'), ', ') FILTER (WHERE excess <> 0), '')
            AS excess,
        CASE WHEN count(*) = 1 THEN sum(debits) END AS amount
    FROM (
        SELECT
            a.currency, count(*) AS lines, sum(r.amount) FILTER (WHERE r.direction = 1) AS debits,
            max(r.entry_id & 4095) AS last_number,
            sum(CASE r.direction WHEN 1 THEN r.amount ELSE -r.amount END) AS excess
        FROM (
            SELECT entry_id, account_id, direction, amount
            FROM entries
            WHERE ledger_id = $1::bigint
                AND entry_id BETWEEN w.first_entry_id AND w.first_entry_id + 4095
            ORDER BY entry_id
            LIMIT 4096
        ) AS r
        LEFT JOIN LATERAL (
            SELECT currency
            FROM accounts
            WHERE ledger_id = $1::bigint AND account_id = r.account_id
            LIMIT 1
        ) AS a ON true
        GROUP BY a.currency
    ) AS by_currency
) AS s ON o.first_entry_id IS DISTINCT FROM w.first_entry_id OR newest.version = w.version
CROSS JOIN LATERAL (
    VALUES
        (
            'the version before it',
            CASE WHEN w.version > 0 THEN (w.version - 1)::text END,
            o.version::text
        ),
        (
            'the version after it',
            CASE WHEN w.version < newest.version THEN (w.version + 1)::text END,
            CASE WHEN w.version + 1 = newest.version THEN newest.version ELSE n.version END::text
        ),
        (
            'status',
            CASE WHEN o.status IN (2, 3) THEN o.status ELSE w.status END::text,
            w.status::text
        ),
        (
            'position',
            CASE WHEN o.position >= w.position THEN 'above ' || o.position ELSE w.position::text END,
            w.position::text
        ),
        (
            'created_position',
            coalesce(o.created_position, w.position)::text,
            w.created_position::text
        ),
        (
            'its event',
            CASE WHEN w.position > pruned.position THEN w.position::text END,
            e.position::text
        ),
        (
            'updated_at, the time of its event',
            coalesce(e.time, w.updated_at)::text,
            w.updated_at::text
        ),
        (
            'created_at',
            CASE WHEN w.version = 0 THEN w.updated_at ELSE coalesce(o.created_at, w.created_at) END::text,
            w.created_at::text
        ),
        (
            'posted_at',
            CASE WHEN w.status = 2 THEN coalesce(o.posted_at, w.updated_at) END::text,
            w.posted_at::text
        ),
        (
            'reverses_id, of the version before it',
            CASE WHEN o.version IS NULL THEN w.reverses_id ELSE o.reverses_id END::text,
            w.reverses_id::text
        ),
        (
            'partially_posts_id, of the version before it',
            CASE WHEN o.version IS NULL THEN w.partially_posts_id ELSE o.partially_posts_id END::text,
            w.partially_posts_id::text
        ),
        (
            'the transaction that its event names',
            coalesce(part.transaction_id, w.transaction_id)::text,
            CASE
                -- As bytes or as text; see events/stored.py.
                WHEN e.position IS NULL
                    OR position(uuid_send(coalesce(part.transaction_id, w.transaction_id)) IN e.payload) > 0
                    OR position(
                        convert_to(coalesce(part.transaction_id, w.transaction_id)::text, 'UTF8') IN e.payload
                    ) > 0 THEN coalesce(part.transaction_id, w.transaction_id)::text
                ELSE 'another'
            END
        ),
        (
            'entry_count',
            CASE WHEN o.first_entry_id = w.first_entry_id THEN o.entry_count ELSE coalesce(s.lines, 0) END::text,
            w.entry_count::text
        ),
        (
            'the number of its last entry',
            CASE WHEN s.lines IS NOT NULL THEN (s.lines - 1)::text END,
            s.last_number::text
        ),
        (
            'debits less credits of its entries',
            CASE WHEN s.lines IS NOT NULL THEN '' END,
            s.excess
        ),
        (
            'amount, the debits of its entries if these have one currency',
            CASE WHEN newest.version = w.version THEN s.amount END::text,
            CASE WHEN newest.version = w.version THEN w.amount END::text
        )
) AS t (problem, expected, found)
WHERE w.position <= $2::bigint AND t.expected IS DISTINCT FROM t.found
ORDER BY k.transaction_id, k.version::bigint
