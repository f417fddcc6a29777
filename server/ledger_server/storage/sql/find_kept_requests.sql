-- Which of these request ids have an outcome. LIMIT keeps the planner from answering with a hash of all requests.
-- $1 ledger_id bigint, $2 request_ids text[]
SELECT k.request_id
FROM unnest($2::text[]) AS k (request_id)
CROSS JOIN LATERAL (
    SELECT
    FROM requests r
    WHERE r.ledger_id = $1::bigint AND r.request_id = k.request_id
    LIMIT 1
) AS kept
