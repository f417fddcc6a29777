-- The metadata of transactions, of all their versions from the first to the last that stood at the positions asked for,
-- in order. An event of an entry writes no version of its transaction: what holds is the newest one until then.
-- Versions have no gaps and positions rise with them, so a binary search needs no index but the key. LIMIT and OFFSET,
-- which leave nothing out, keep the planner from answering with a hash of all transactions.
-- $1 ledger_id bigint, then text[], one element a question: $2 transaction_ids, $3 positions
WITH RECURSIVE probes AS (
    SELECT
        asked.transaction_id, asked.position,
        CASE WHEN newest.position <= asked.position THEN newest.version ELSE 0 END AS low,
        CASE WHEN newest.position <= asked.position THEN newest.version ELSE newest.version - 1 END AS high
    FROM (
        SELECT transaction_id::uuid AS transaction_id, position::bigint AS position
        FROM unnest($2::text[], $3::text[]) AS each (transaction_id, position)
    ) AS asked
    CROSS JOIN LATERAL (
        SELECT version, position
        FROM transactions
        WHERE ledger_id = $1::bigint AND transaction_id = asked.transaction_id
        LIMIT 1
    ) AS newest
    UNION ALL
    SELECT
        probes.transaction_id, probes.position,
        CASE WHEN middle.position <= probes.position THEN middle.version ELSE probes.low END,
        CASE WHEN middle.position <= probes.position THEN probes.high ELSE middle.version - 1 END
    FROM probes
    CROSS JOIN LATERAL (
        SELECT version, position
        FROM transaction_versions
        WHERE ledger_id = $1::bigint AND transaction_id = probes.transaction_id
            AND version = (probes.low + probes.high + 1) / 2
        LIMIT 1
    ) AS middle
    WHERE probes.low < probes.high
)
SELECT found.transaction_id, v.position, v.metadata
FROM (
    SELECT transaction_id, min(low) AS first_version, max(low) AS last_version
    FROM probes
    WHERE low = high
    GROUP BY transaction_id
) AS found
CROSS JOIN LATERAL (
    (
        SELECT position, metadata
        FROM transactions
        WHERE ledger_id = $1::bigint AND transaction_id = found.transaction_id
            AND version BETWEEN found.first_version AND found.last_version
        LIMIT 1
    )
    UNION ALL
    (
        SELECT position, metadata
        FROM transaction_versions
        WHERE ledger_id = $1::bigint AND transaction_id = found.transaction_id
            AND version BETWEEN found.first_version AND found.last_version
        OFFSET 0
    )
) AS v
ORDER BY v.position
