-- The hot rows of a batch, in one round trip: new transactions, account versions, entries, events,
-- outcomes, and the head of the log. Each table is modified once; foreign keys are checked at the end.
-- $1 ledger_id uuid, $2 now timestamptz, $3 position bigint, $4 digest bytea; then arrays (text[] unless said otherwise):
-- transactions: $5 transaction_ids, $6 versions, $7 statuses, $8 archived_reasons, $9 entry_counts, $10 first_entry_ids,
--   $11 positions, $12 created_positions, $13 effective_ats, $14 posted_ats, $15 descriptions, $16 external_ids, $17 metadatas,
--   $18 expires_ats, $19 reverses_ids, $20 partially_posts_ids
-- account versions: $21 account_ids, $22 lock_versions, $23 positions, $24 transaction_ids, $25 posted_debits,
--   $26 posted_credits, $27 pending_debits, $28 pending_credits
-- entries: $29 entry_ids, $30 transaction_ids, $31 account_ids, $32 account_lock_versions, $33 transaction_versions,
--   $34 statuses, $35 directions, $36 amounts, $37 metadatas, $38 reverses_entry_ids
-- events: $39 positions, $40 payloads bytea[], $41 digests bytea[]
-- requests: $42 request_ids, $43 fingerprints bytea[], $44 object_ids, $45 versions, $46 outcomes
WITH new_transactions AS (
    INSERT INTO transactions (
        ledger_id, transaction_id, version, status, archived_reason, entry_count, first_entry_id, position,
        created_position, created_at, updated_at, effective_at, posted_at, description, external_id, metadata,
        expires_at, reverses_id, partially_posts_id
    )
    SELECT
        $1::uuid, r.transaction_id::uuid, r.version::bigint, r.status::smallint, r.archived_reason::smallint,
        r.entry_count::smallint, r.first_entry_id::uuid, r.position::bigint, r.created_position::bigint,
        $2::timestamptz, $2::timestamptz, r.effective_at::timestamptz, r.posted_at::timestamptz,
        r.description, r.external_id, r.metadata::jsonb, r.expires_at::timestamptz, r.reverses_id::uuid,
        r.partially_posts_id::uuid
    FROM unnest(
        $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[],
        $14::text[], $15::text[], $16::text[], $17::text[], $18::text[], $19::text[], $20::text[]
    ) AS r (
        transaction_id, version, status, archived_reason, entry_count, first_entry_id, position, created_position,
        effective_at, posted_at, description, external_id, metadata, expires_at, reverses_id, partially_posts_id
    )
),
new_versions AS (
    INSERT INTO account_versions (
        ledger_id, account_id, lock_version, position, transaction_id, posted_debits, posted_credits, pending_debits,
        pending_credits
    )
    SELECT
        $1::uuid, r.account_id::uuid, r.lock_version::bigint, r.position::bigint, r.transaction_id::uuid,
        r.posted_debits::numeric, r.posted_credits::numeric, r.pending_debits::numeric, r.pending_credits::numeric
    FROM unnest(
        $21::text[], $22::text[], $23::text[], $24::text[], $25::text[], $26::text[], $27::text[], $28::text[]
    ) AS r (
        account_id, lock_version, position, transaction_id, posted_debits, posted_credits, pending_debits, pending_credits
    )
),
new_entries AS (
    INSERT INTO entries (
        ledger_id, entry_id, transaction_id, account_id, account_lock_version, transaction_version, status, direction,
        amount, metadata, reverses_entry_id
    )
    SELECT
        $1::uuid, r.entry_id::uuid, r.transaction_id::uuid, r.account_id::uuid, r.account_lock_version::bigint,
        r.transaction_version::bigint, r.status::smallint, r.direction::smallint, r.amount::numeric, r.metadata::jsonb,
        r.reverses_entry_id::uuid
    FROM unnest(
        $29::text[], $30::text[], $31::text[], $32::text[], $33::text[], $34::text[], $35::text[], $36::text[], $37::text[],
        $38::text[]
    ) AS r (
        entry_id, transaction_id, account_id, account_lock_version, transaction_version, status, direction, amount, metadata,
        reverses_entry_id
    )
),
new_events AS (
    INSERT INTO events (ledger_id, position, time, payload, digest)
    SELECT $1::uuid, r.position::bigint, $2::timestamptz, r.payload, r.digest
    FROM unnest($39::text[], $40::bytea[], $41::bytea[]) AS r (position, payload, digest)
),
new_requests AS (
    INSERT INTO requests (ledger_id, request_id, fingerprint, object_id, version, outcome, created_at)
    SELECT $1::uuid, r.request_id, r.fingerprint, r.object_id::uuid, r.version::bigint, r.outcome::jsonb, $2::timestamptz
    FROM unnest($42::text[], $43::bytea[], $44::text[], $45::text[], $46::text[])
        AS r (request_id, fingerprint, object_id, version, outcome)
)
UPDATE ledgers
SET position = $3::bigint, digest = $4::bytea, event_time = $2::timestamptz
WHERE ledger_id = $1::uuid
