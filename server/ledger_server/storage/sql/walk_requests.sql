-- Request ids, in order, for whoever verifies their outcomes.
-- $1 ledger_id bigint, $2 after_request_id text, $3 row_count bigint
SELECT request_id
FROM requests
WHERE ledger_id = $1::bigint AND request_id > $2::text
ORDER BY request_id
LIMIT $3::bigint
