-- What is not money about accounts.
-- ANY says again what the join says, because the planner may answer that with a hash of the whole ledger.
-- $1 ledger_id uuid, then text[], one element an account: $2 account_ids, $3 names, $4 descriptions, $5 external_ids,
-- $6 metadatas, $7 statuses, $8 limits, $9 deleted_ats, $10 name_grams; $11 now timestamptz
UPDATE accounts AS a
SET name = r.name, name_grams = r.name_grams::bigint[], description = r.description, external_id = r.external_id,
    metadata = r.metadata::jsonb, status = r.status::smallint, limits = r.limits::jsonb, deleted_at = r.deleted_at::timestamptz,
    updated_at = $11::timestamptz
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[])
    AS r (account_id, name, description, external_id, metadata, status, limits, deleted_at, name_grams)
WHERE a.ledger_id = $1::uuid AND a.account_id = r.account_id::uuid
    AND a.account_id = ANY ($2::text[]::uuid[])
