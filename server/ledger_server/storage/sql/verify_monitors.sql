-- Monitors whose condition is not the last they were given, or whose state is not what it makes of what they are on.
-- Both as they stand: a monitor and its subject are written by one commit, so they agree in every snapshot. Hysteresis
-- makes two thresholds: one that triggers, and one that keeps triggered.
-- The LIMITs, which cut nothing off, keep the planner from hashing whole tables.
-- $1 ledger_id bigint, $2 position bigint, $3 monitor_ids text[]
SELECT
    'monitors' AS table_name, jsonb_build_object('monitor_id', k.monitor_id) AS row_key, p.problem, p.expected, p.found
FROM unnest($3::text[]) AS k (monitor_id)
CROSS JOIN LATERAL (
    SELECT
        account_id, category_id, field, operator, value, resolve_value, triggered,
        CASE WHEN triggered THEN coalesce(resolve_value, value) ELSE value END AS threshold
    FROM monitors
    WHERE ledger_id = $1::bigint AND monitor_id = k.monitor_id::uuid AND created_position <= $2::bigint
        AND deleted_at IS NULL
    LIMIT 1
) AS m
LEFT JOIN LATERAL (
    SELECT field, operator, value, resolve_value
    FROM monitor_conditions
    WHERE ledger_id = $1::bigint AND monitor_id = k.monitor_id::uuid
    ORDER BY position DESC
    LIMIT 1
) AS c ON true
LEFT JOIN LATERAL (
    SELECT normal_balance, lock_version, posted_debits, posted_credits, pending_debits, pending_credits
    FROM accounts_with_balances
    WHERE ledger_id = $1::bigint AND account_id = m.account_id
    UNION ALL
    SELECT normal_balance, NULL, posted_debits, posted_credits, pending_debits, pending_credits
    FROM categories_with_balances
    WHERE ledger_id = $1::bigint AND category_id = m.category_id
    LIMIT 1
) AS s ON true
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN m.field = 4 THEN s.lock_version
        -- Credits less debits of a credit-normal subject; of the pending side, pending counts both and available one.
        ELSE (CASE WHEN s.normal_balance = 2 THEN 1 ELSE -1 END) * (
            s.posted_credits - s.posted_debits
            + CASE WHEN m.field = 2 OR (m.field = 3 AND s.normal_balance = 1) THEN s.pending_credits ELSE 0 END
            - CASE WHEN m.field = 2 OR (m.field = 3 AND s.normal_balance = 2) THEN s.pending_debits ELSE 0 END
        )
    END AS seen
) AS f
CROSS JOIN LATERAL (
    SELECT CASE m.operator
        WHEN 1 THEN f.seen < m.threshold
        WHEN 2 THEN f.seen <= m.threshold
        WHEN 3 THEN f.seen = m.threshold
        WHEN 5 THEN f.seen >= m.threshold
        ELSE f.seen > m.threshold
    END AS triggered
) AS e
CROSS JOIN LATERAL (
    SELECT 'triggered, by its condition at ' || coalesce(f.seen::text, 'nothing') AS problem,
        e.triggered::text AS expected, m.triggered::text AS found
    WHERE e.triggered IS DISTINCT FROM m.triggered
    UNION ALL
    SELECT 'condition, by the last it was given', c::text, ROW(m.field, m.operator, m.value, m.resolve_value)::text
    WHERE ROW(c.field, c.operator, c.value, c.resolve_value)
        IS DISTINCT FROM ROW(m.field, m.operator, m.value, m.resolve_value)
) AS p
ORDER BY k.monitor_id
