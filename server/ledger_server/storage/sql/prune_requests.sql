-- Looks at a bite of a ledger's request ids, in the order of their key, and prunes those older than the retention.
-- There is no index by time, which every posting would pay for; who prunes walks along the key instead.
-- $1 ledger_id bigint, $2 after_request_id text, $3 retention interval, $4 requests_max bigint
WITH bite AS (
    SELECT request_id, created_at
    FROM requests
    WHERE ledger_id = $1::bigint AND request_id > $2::text
    ORDER BY request_id
    LIMIT $4::bigint
),
pruned AS (
    DELETE FROM requests
    WHERE ledger_id = $1::bigint
        AND request_id = ANY (
            ARRAY(SELECT b.request_id FROM bite b WHERE b.created_at < statement_timestamp() - $3::interval)
        )
    RETURNING request_id
)
SELECT
    (SELECT count(*) FROM bite) AS seen,
    (SELECT max(request_id) FROM bite) AS last_request_id,
    (SELECT count(*) FROM pruned) AS pruned
