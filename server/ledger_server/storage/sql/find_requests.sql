-- What became of request ids.
-- $1 ledger_id uuid, $2 request_ids text[]
SELECT request_id, fingerprint, object_id, version, outcome
FROM requests
WHERE ledger_id = $1::uuid AND request_id = ANY ($2::text[])
