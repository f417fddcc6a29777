-- New transactions and nothing else, which is what most batches are: as write_batch would, in fewer parts and columns.
-- A part that finds nothing to write costs 15 us all the same, and a column that says nothing as much as any other.
-- $1 ledger_id bigint, $2 now timestamptz, $3 position bigint, $4 digest bytea; then columns, as text unless said
-- otherwise
-- transactions:
--   $5 transaction_ids, $6 statuses, $7 archived_reasons, $8 entry_counts, $9 first_entry_ids, $10 positions,
--   $11 effective_ats, null: now, $12 descriptions, $13 external_ids, $14 metadatas, $15 expires_ats, $16 amounts
-- account_lines, all of them entries:
--   $17 line_ids, $18 account_ids, $19 transaction_ids, $20 lock_versions, $21 shown_versions, $22 posted_debits,
--   $23 posted_credits, $24 pending_debits, $25 pending_credits, $26 effective_ats, null: now, $27 positions,
--   $28 statuses, $29 directions, $30 amounts, $31 metadatas
-- events:
--   $32 positions, $33 payloads bytea[], $34 digests bytea[]
-- requests:
--   $35 request_ids, $36 fingerprints bytea[], $37 object_ids, $38 versions, $39 outcomes
-- metadata_pairs:
--   $40 nouns, $41 keys, $42 value_heads, $43 block_positions, $44 offsets, each row once
-- $45 position bigint and $46 epoch uuid: where the ledger stood when all this was decided, as in write_batch
WITH new_transactions AS (
    INSERT INTO transactions (
        ledger_id, transaction_id, version, status, archived_reason, entry_count, first_entry_id, position,
        created_position, created_at, updated_at, effective_at, posted_at, description, external_id, metadata,
        expires_at, amount
    )
    SELECT
        $1::bigint, r.transaction_id, 0, r.status, r.archived_reason, r.entry_count, r.first_entry_id, r.position,
        r.position, $2::timestamptz, $2::timestamptz, coalesce(r.effective_at, $2::timestamptz),
        CASE WHEN r.status = 2 THEN $2::timestamptz END, r.description, r.external_id, r.metadata, r.expires_at,
        r.amount
    FROM (
        SELECT
            unnest($5::text::uuid[]) AS transaction_id,
            unnest($6::text::smallint[]) AS status,
            unnest($7::text::smallint[]) AS archived_reason,
            unnest($8::text::smallint[]) AS entry_count,
            unnest($9::text::bigint[]) AS first_entry_id,
            unnest($10::text::bigint[]) AS position,
            unnest($11::text::timestamptz[]) AS effective_at,
            unnest($12::text::text[]) AS description,
            unnest($13::text::text[]) AS external_id,
            unnest($14::text::jsonb[]) AS metadata,
            unnest($15::text::timestamptz[]) AS expires_at,
            unnest($16::text::numeric[]) AS amount
    ) AS r
),
new_lines AS (
    INSERT INTO account_lines (
        ledger_id, line_id, account_id, transaction_id, lock_version, shown_version, position, written_at, effective_at,
        status, direction, amount, posted_debits, posted_credits, pending_debits, pending_credits, metadata
    )
    SELECT
        $1::bigint, r.line_id, r.account_id, r.transaction_id, r.lock_version, r.shown_version, r.position,
        $2::timestamptz, nullif(r.effective_at, $2::timestamptz), r.status, r.direction, r.amount, r.posted_debits,
        r.posted_credits, r.pending_debits, r.pending_credits, r.metadata
    FROM (
        SELECT
            unnest($17::text::bigint[]) AS line_id,
            unnest($18::text::uuid[]) AS account_id,
            unnest($19::text::uuid[]) AS transaction_id,
            unnest($20::text::bigint[]) AS lock_version,
            unnest($21::text::bigint[]) AS shown_version,
            unnest($22::text::numeric[]) AS posted_debits,
            unnest($23::text::numeric[]) AS posted_credits,
            unnest($24::text::numeric[]) AS pending_debits,
            unnest($25::text::numeric[]) AS pending_credits,
            unnest($26::text::timestamptz[]) AS effective_at,
            unnest($27::text::bigint[]) AS position,
            unnest($28::text::smallint[]) AS status,
            unnest($29::text::smallint[]) AS direction,
            unnest($30::text::numeric[]) AS amount,
            unnest($31::text::jsonb[]) AS metadata
    ) AS r
),
new_pairs AS (
    INSERT INTO metadata_pairs AS p (
        ledger_id, noun, key, value_head, block_position, offsets
    )
    SELECT
        $1::bigint, r.noun, r.key, r.value_head, r.block_position, r.offsets
    FROM (
        SELECT
            unnest($40::text::smallint[]) AS noun,
            unnest($41::text::text[]) AS key,
            unnest($42::text::text[]) AS value_head,
            unnest($43::text::bigint[]) AS block_position,
            unnest($44::text::bytea[]) AS offsets
    ) AS r
    ON CONFLICT (ledger_id, noun, key, value_head, block_position)
    DO UPDATE SET offsets = p.offsets || excluded.offsets
),
new_events AS (
    INSERT INTO events (
        ledger_id, position, payload, digest, time
    )
    SELECT
        $1::bigint, r.position, r.payload, r.digest, $2::timestamptz
    FROM (
        SELECT
            unnest($32::text::bigint[]) AS position,
            unnest($33::bytea[]) AS payload,
            unnest($34::bytea[]) AS digest
    ) AS r
),
new_requests AS (
    INSERT INTO requests (
        ledger_id, request_id, fingerprint, object_id, version, outcome, created_at
    )
    SELECT
        $1::bigint, r.request_id, r.fingerprint, r.object_id, nullif(r.version, 0), r.outcome,
        $2::timestamptz
    FROM (
        SELECT
            unnest($35::text::text[]) AS request_id,
            unnest($36::bytea[]) AS fingerprint,
            unnest($37::text::uuid[]) AS object_id,
            unnest($38::text::bigint[]) AS version,
            unnest($39::text::jsonb[]) AS outcome
    ) AS r
)
UPDATE ledgers
SET position = CASE
        WHEN position = $45::bigint AND epoch = $46::uuid AND current_setting('transaction_isolation') = 'serializable'
        THEN $3::bigint
        ELSE -1
    END,
    digest = $4::bytea, event_time = $2::timestamptz
WHERE ledger_id = $1::bigint
