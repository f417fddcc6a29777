-- A new ledger, at position 0.
-- $1 ledger_id bigint, $2 name text, $3 description text, $4 metadata jsonb, $5 now timestamptz, $6 digest bytea,
-- $7 epoch uuid
INSERT INTO ledgers (
    ledger_id, name, description, metadata, created_at, updated_at, position, event_time, digest, epoch
)
VALUES (
    $1::bigint, $2::text, $3::text, $4::jsonb, $5::timestamptz, $5::timestamptz, 0, $5::timestamptz, $6::bytea, $7::uuid
)
