-- What a batch does to transactions, in one round trip: they, the versions they replace, account and category versions,
-- entries, metadata, events, outcomes, and the head of the log. Each table is modified once; foreign keys are checked at
-- the end. Changed transactions come before new ones, which may take an external id that they give up. ON CONFLICT finds
-- them by the primary key, whatever the planner believes, where a join may hold each against each.
-- Columns come as array literals, one text a column: encoding arrays element by element cost half of the server's time.
-- $1 ledger_id uuid, $2 now timestamptz, $3 position bigint, $4 digest bytea; then columns, as text unless said otherwise
-- transactions:
--   $5 transaction_ids, $6 versions, $7 statuses, $8 archived_reasons, $9 entry_counts, $10 first_entry_ids,
--   $11 positions, $12 created_positions, $13 created_ats, $14 updated_ats, $15 effective_ats, $16 posted_ats,
--   $17 descriptions, $18 external_ids, $19 metadatas, $20 expires_ats, $21 reverses_ids, $22 partially_posts_ids
-- account_versions:
--   $23 account_ids, $24 lock_versions, $25 positions, $26 transaction_ids, $27 posted_debits,
--   $28 posted_credits, $29 pending_debits, $30 pending_credits, $31 effective_ats, null: now,
--   $32 discarded_effective_ats, $33 discarded_debits, $34 discarded_credits
-- entries:
--   $35 entry_ids, $36 transaction_ids, $37 account_ids, $38 account_lock_versions, $39 transaction_versions,
--   $40 statuses, $41 directions, $42 amounts, $43 metadatas, $44 reverses_entry_ids
-- events:
--   $45 positions, $46 payloads bytea[], $47 digests bytea[]
-- requests:
--   $48 request_ids, $49 fingerprints bytea[], $50 object_ids, $51 versions, $52 outcomes
-- transactions again: $53 amounts
-- metadata_pairs: $54 nouns, $55 keys, $56 value_heads, $57 block_positions, $58 offsets, each row once
-- $59 position bigint and $60 epoch uuid: where the ledger stood when all this was decided. If it stands elsewhere, or the
-- session is not SERIALIZABLE, the position asked for is one that the table forbids, and nothing is written.
-- transaction_versions, those that were replaced:
--   $61 transaction_ids, $62 versions, $63 statuses, $64 archived_reasons, $65 entry_counts, $66 first_entry_ids,
--   $67 positions, $68 created_positions, $69 created_ats, $70 updated_ats, $71 effective_ats, $72 posted_ats,
--   $73 descriptions, $74 external_ids, $75 metadatas, $76 expires_ats, $77 reverses_ids, $78 partially_posts_ids
-- category_versions:
--   $79 category_ids, $80 positions, $81 posted_debits, $82 posted_credits, $83 pending_debits, $84 pending_credits
WITH transactions_now AS (
    INSERT INTO transactions (
        ledger_id, transaction_id, version, status, archived_reason, entry_count, first_entry_id, position,
        created_position, created_at, updated_at, effective_at, posted_at, description, external_id, metadata,
        expires_at, reverses_id, partially_posts_id, amount
    )
    SELECT
        $1::uuid, r.transaction_id, r.version, r.status, r.archived_reason, r.entry_count, r.first_entry_id,
        r.position, r.created_position, r.created_at, r.updated_at, r.effective_at, r.posted_at, r.description,
        r.external_id, r.metadata, r.expires_at, r.reverses_id, r.partially_posts_id, r.amount
    FROM unnest(
        $5::text::uuid[], $6::text::bigint[], $7::text::smallint[], $8::text::smallint[], $9::text::smallint[],
        $10::text::uuid[], $11::text::bigint[], $12::text::bigint[], $13::text::timestamptz[],
        $14::text::timestamptz[], $15::text::timestamptz[], $16::text::timestamptz[], $17::text::text[],
        $18::text::text[], $19::text::jsonb[], $20::text::timestamptz[], $21::text::uuid[], $22::text::uuid[],
        $53::text::numeric[]
    ) AS r (
        transaction_id, version, status, archived_reason, entry_count, first_entry_id, position, created_position,
        created_at, updated_at, effective_at, posted_at, description, external_id, metadata, expires_at,
        reverses_id, partially_posts_id, amount
    )
    ON CONFLICT (ledger_id, transaction_id) DO UPDATE
    SET
        version = excluded.version, status = excluded.status, archived_reason = excluded.archived_reason,
        entry_count = excluded.entry_count, first_entry_id = excluded.first_entry_id, position = excluded.position,
        updated_at = excluded.updated_at, effective_at = excluded.effective_at, posted_at = excluded.posted_at,
        description = excluded.description, external_id = excluded.external_id, metadata = excluded.metadata,
        expires_at = excluded.expires_at, amount = excluded.amount
),
replaced AS (
    INSERT INTO transaction_versions (
        ledger_id, transaction_id, version, status, archived_reason, entry_count, first_entry_id, position,
        created_position, created_at, updated_at, effective_at, posted_at, description, external_id, metadata,
        expires_at, reverses_id, partially_posts_id
    )
    SELECT
        $1::uuid, r.transaction_id, r.version, r.status, r.archived_reason, r.entry_count, r.first_entry_id,
        r.position, r.created_position, r.created_at, r.updated_at, r.effective_at, r.posted_at, r.description,
        r.external_id, r.metadata, r.expires_at, r.reverses_id, r.partially_posts_id
    FROM unnest(
        $61::text::uuid[], $62::text::bigint[], $63::text::smallint[], $64::text::smallint[], $65::text::smallint[],
        $66::text::uuid[], $67::text::bigint[], $68::text::bigint[], $69::text::timestamptz[],
        $70::text::timestamptz[], $71::text::timestamptz[], $72::text::timestamptz[], $73::text::text[],
        $74::text::text[], $75::text::jsonb[], $76::text::timestamptz[], $77::text::uuid[], $78::text::uuid[]
    ) AS r (
        transaction_id, version, status, archived_reason, entry_count, first_entry_id, position, created_position,
        created_at, updated_at, effective_at, posted_at, description, external_id, metadata, expires_at,
        reverses_id, partially_posts_id
    )
),
new_category_versions AS (
    INSERT INTO category_versions (
        ledger_id, category_id, position, posted_debits, posted_credits, pending_debits, pending_credits
    )
    SELECT
        $1::uuid, r.category_id, r.position, r.posted_debits, r.posted_credits, r.pending_debits, r.pending_credits
    FROM unnest(
        $79::text::uuid[], $80::text::bigint[], $81::text::numeric[], $82::text::numeric[], $83::text::numeric[],
        $84::text::numeric[]
    ) AS r (category_id, position, posted_debits, posted_credits, pending_debits, pending_credits)
),
new_versions AS (
    INSERT INTO account_versions (
        ledger_id, account_id, lock_version, position, transaction_id, posted_debits, posted_credits,
        pending_debits, pending_credits, written_at, effective_at, discarded_effective_at, discarded_debits,
        discarded_credits
    )
    SELECT
        $1::uuid, r.account_id, r.lock_version, r.position, r.transaction_id, r.posted_debits, r.posted_credits,
        r.pending_debits, r.pending_credits, $2::timestamptz, coalesce(r.effective_at, $2::timestamptz),
        r.discarded_effective_at, r.discarded_debits, r.discarded_credits
    FROM unnest(
        $23::text::uuid[], $24::text::bigint[], $25::text::bigint[], $26::text::uuid[], $27::text::numeric[],
        $28::text::numeric[], $29::text::numeric[], $30::text::numeric[], $31::text::timestamptz[],
        $32::text::timestamptz[], $33::text::numeric[], $34::text::numeric[]
    ) AS r (
        account_id, lock_version, position, transaction_id, posted_debits, posted_credits, pending_debits,
        pending_credits, effective_at, discarded_effective_at, discarded_debits, discarded_credits
    )
),
new_entries AS (
    INSERT INTO entries (
        ledger_id, entry_id, transaction_id, account_id, account_lock_version, transaction_version, status,
        direction, amount, metadata, reverses_entry_id
    )
    SELECT
        $1::uuid, r.entry_id, r.transaction_id, r.account_id, r.account_lock_version, r.transaction_version,
        r.status, r.direction, r.amount, r.metadata, r.reverses_entry_id
    FROM unnest(
        $35::text::uuid[], $36::text::uuid[], $37::text::uuid[], $38::text::bigint[], $39::text::integer[],
        $40::text::smallint[], $41::text::smallint[], $42::text::numeric[], $43::text::jsonb[], $44::text::uuid[]
    ) AS r (
        entry_id, transaction_id, account_id, account_lock_version, transaction_version, status, direction, amount,
        metadata, reverses_entry_id
    )
),
new_pairs AS (
    INSERT INTO metadata_pairs AS p (
        ledger_id, noun, key, value_head, block_position, offsets
    )
    SELECT
        $1::uuid, r.noun, r.key, r.value_head, r.block_position, r.offsets
    FROM unnest(
        $54::text::smallint[], $55::text::text[], $56::text::text[], $57::text::bigint[], $58::text::bytea[]
    ) AS r (
        noun, key, value_head, block_position, offsets
    )
    ON CONFLICT (ledger_id, noun, key, value_head, block_position)
    DO UPDATE SET offsets = p.offsets || EXCLUDED.offsets
),
new_events AS (
    INSERT INTO events (
        ledger_id, position, payload, digest, time
    )
    SELECT
        $1::uuid, r.position, r.payload, r.digest, $2::timestamptz
    FROM unnest(
        $45::text::bigint[], $46::bytea[], $47::bytea[]
    ) AS r (
        position, payload, digest
    )
),
new_requests AS (
    INSERT INTO requests (
        ledger_id, request_id, fingerprint, object_id, version, outcome, created_at
    )
    SELECT
        $1::uuid, r.request_id, r.fingerprint, r.object_id, r.version, r.outcome, $2::timestamptz
    FROM unnest(
        $48::text::text[], $49::bytea[], $50::text::uuid[], $51::text::bigint[], $52::text::jsonb[]
    ) AS r (
        request_id, fingerprint, object_id, version, outcome
    )
)
UPDATE ledgers
SET position = CASE
        WHEN position = $59::bigint AND epoch = $60::uuid AND current_setting('transaction_isolation') = 'serializable'
        THEN $3::bigint
        ELSE -1
    END,
    digest = $4::bytea, event_time = $2::timestamptz
WHERE ledger_id = $1::uuid
