-- What most batches do, in one round trip: transactions and the versions they replace, account lines, how much of entries
-- is reversed, new accounts, category versions, monitors' states, metadata, events, outcomes, and the head of the log.
-- Each table is modified once; foreign keys are checked at the end. Changed transactions come before new ones, which may
-- take an external id that they give up. ON CONFLICT finds them by the primary key, whatever the planner believes, where
-- a join may hold each against each.
-- Columns come as array literals, one text a column: encoding arrays element by element cost half of the server's time.
-- $1 ledger_id uuid, $2 now timestamptz, $3 position bigint, $4 digest bytea; then columns, as text unless said otherwise
-- transactions:
--   $5 transaction_ids, $6 versions, $7 statuses, $8 archived_reasons, $9 entry_counts, $10 first_entry_ids,
--   $11 positions, $12 created_positions, $13 created_ats, $14 updated_ats, $15 effective_ats, $16 posted_ats,
--   $17 descriptions, $18 external_ids, $19 metadatas, $20 expires_ats, $21 reverses_ids, $22 partially_posts_ids;
--   a time that is null is now, unless it may be none
-- account_lines:
--   $23 line_ids, $24 account_ids, $25 transaction_ids, $26 lock_versions, $27 shown_versions, $28 posted_debits,
--   $29 posted_credits, $30 pending_debits, $31 pending_credits, $32 effective_ats, null: now,
--   $33 discarded_effective_ats, $34 discarded_debits, $35 discarded_credits, $36 positions,
--   $37 transaction_versions, $38 statuses, $39 directions, $40 amounts, $41 metadatas, $42 reverses_entry_ids
-- events:
--   $43 positions, $44 payloads bytea[], $45 digests bytea[]
-- requests:
--   $46 request_ids, $47 fingerprints bytea[], $48 object_ids, $49 versions, $50 outcomes
-- transactions again: $51 amounts
-- metadata_pairs, of which those of entries may be there, from another entry or version of the transaction:
--   $52 nouns, $53 keys, $54 value_heads, $55 block_positions, $56 offsets, each row once
-- $57 position bigint and $58 epoch uuid: where the ledger stood when all this was decided. If it stands elsewhere, or the
-- session is not SERIALIZABLE, the position asked for is one that the table forbids, and nothing is written.
-- What follows, and the parts of the statement before transactions_now, are left out of write_plain_batch:
-- transaction_versions, those that were replaced:
--   $59 transaction_ids, $60 versions, $61 statuses, $62 archived_reasons, $63 entry_counts, $64 first_entry_ids,
--   $65 positions, $66 created_positions, $67 created_ats, $68 updated_ats, $69 effective_ats, $70 posted_ats,
--   $71 descriptions, $72 external_ids, $73 metadatas, $74 expires_ats, $75 reverses_ids, $76 partially_posts_ids
-- category_versions:
--   $77 category_ids, $78 positions, $79 posted_debits, $80 posted_credits, $81 pending_debits, $82 pending_credits
-- monitors, those that turned:
--   $83 monitor_ids, $84 triggereds, $85 since_positions
-- entry_reversals:
--   $86 entry_ids, $87 reversed, $88 amounts
-- accounts, new ones, whose versions 0 are among the account_lines:
--   $89 account_ids, $90 names, $91 descriptions, $92 normal_balances, $93 currencies, $94 currency_exponents,
--   $95 external_ids, $96 metadatas, $97 created_positions, $98 statuses, $99 limits, $100 name_grams, as literals
WITH replaced AS (
    INSERT INTO transaction_versions (
        ledger_id, transaction_id, version, status, archived_reason, entry_count, first_entry_id, position,
        created_position, created_at, updated_at, effective_at, posted_at, description, external_id, metadata,
        expires_at, reverses_id, partially_posts_id
    )
    SELECT
        $1::uuid, r.transaction_id, r.version, r.status, r.archived_reason, r.entry_count, r.first_entry_id,
        r.position, r.created_position, coalesce(r.created_at, $2::timestamptz), coalesce(r.updated_at, $2::timestamptz),
        coalesce(r.effective_at, $2::timestamptz), CASE WHEN r.status = 2 THEN coalesce(r.posted_at, $2::timestamptz) END,
        r.description, r.external_id, r.metadata, r.expires_at, r.reverses_id, r.partially_posts_id
    FROM unnest(
        $59::text::uuid[], $60::text::bigint[], $61::text::smallint[], $62::text::smallint[], $63::text::smallint[],
        $64::text::uuid[], $65::text::bigint[], $66::text::bigint[], $67::text::timestamptz[],
        $68::text::timestamptz[], $69::text::timestamptz[], $70::text::timestamptz[], $71::text::text[],
        $72::text::text[], $73::text::jsonb[], $74::text::timestamptz[], $75::text::uuid[], $76::text::uuid[]
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
        $77::text::uuid[], $78::text::bigint[], $79::text::numeric[], $80::text::numeric[], $81::text::numeric[],
        $82::text::numeric[]
    ) AS r (category_id, position, posted_debits, posted_credits, pending_debits, pending_credits)
),
turned AS (
    UPDATE monitors AS m
    SET triggered = r.triggered, since_position = r.since_position, since = $2::timestamptz
    FROM unnest(
        $83::text::uuid[], $84::text::boolean[], $85::text::bigint[]
    ) AS r (monitor_id, triggered, since_position)
    WHERE m.ledger_id = $1::uuid AND m.monitor_id = r.monitor_id
),
reversed_entries AS (
    INSERT INTO entry_reversals (
        ledger_id, entry_id, reversed, amount
    )
    SELECT
        $1::uuid, r.entry_id, r.reversed, r.amount
    FROM unnest(
        $86::text::uuid[], $87::text::numeric[], $88::text::numeric[]
    ) AS r (entry_id, reversed, amount)
    ON CONFLICT (ledger_id, entry_id) DO UPDATE SET reversed = excluded.reversed
),
new_accounts AS (
    INSERT INTO accounts (
        ledger_id, account_id, normal_balance, currency, currency_exponent, created_position, created_at, updated_at,
        name, name_grams, description, external_id, metadata, status, limits
    )
    SELECT
        $1::uuid, r.account_id, r.normal_balance, r.currency, r.currency_exponent, r.created_position,
        $2::timestamptz, $2::timestamptz, r.name, r.name_grams::bigint[], r.description, r.external_id, r.metadata,
        r.status, r.limits
    FROM unnest(
        $89::text::uuid[], $90::text::text[], $91::text::text[], $92::text::smallint[], $93::text::text[],
        $94::text::smallint[], $95::text::text[], $96::text::jsonb[], $97::text::bigint[], $98::text::smallint[],
        $99::text::jsonb[], $100::text::text[]
    ) AS r (
        account_id, name, description, normal_balance, currency, currency_exponent, external_id, metadata,
        created_position, status, limits, name_grams
    )
),
transactions_now AS (
    INSERT INTO transactions (
        ledger_id, transaction_id, version, status, archived_reason, entry_count, first_entry_id, position,
        created_position, created_at, updated_at, effective_at, posted_at, description, external_id, metadata,
        expires_at, reverses_id, partially_posts_id, amount
    )
    SELECT
        $1::uuid, r.transaction_id, r.version, r.status, r.archived_reason, r.entry_count, r.first_entry_id,
        r.position, r.created_position, coalesce(r.created_at, $2::timestamptz), coalesce(r.updated_at, $2::timestamptz),
        coalesce(r.effective_at, $2::timestamptz), CASE WHEN r.status = 2 THEN coalesce(r.posted_at, $2::timestamptz) END,
        r.description, r.external_id, r.metadata, r.expires_at, r.reverses_id, r.partially_posts_id, r.amount
    FROM unnest(
        $5::text::uuid[], $6::text::bigint[], $7::text::smallint[], $8::text::smallint[], $9::text::smallint[],
        $10::text::uuid[], $11::text::bigint[], $12::text::bigint[], $13::text::timestamptz[],
        $14::text::timestamptz[], $15::text::timestamptz[], $16::text::timestamptz[], $17::text::text[],
        $18::text::text[], $19::text::jsonb[], $20::text::timestamptz[], $21::text::uuid[], $22::text::uuid[],
        $51::text::numeric[]
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
new_lines AS (
    INSERT INTO account_lines (
        ledger_id, line_id, account_id, transaction_id, lock_version, shown_version, position, written_at, effective_at,
        discarded_effective_at, transaction_version, status, direction, amount, posted_debits, posted_credits,
        pending_debits, pending_credits, discarded_debits, discarded_credits, metadata, reverses_entry_id
    )
    SELECT
        $1::uuid, r.line_id, r.account_id, r.transaction_id, r.lock_version, r.shown_version, r.position,
        $2::timestamptz, coalesce(r.effective_at, $2::timestamptz), r.discarded_effective_at, r.transaction_version,
        r.status, r.direction, r.amount, r.posted_debits, r.posted_credits, r.pending_debits, r.pending_credits,
        r.discarded_debits, r.discarded_credits, r.metadata, r.reverses_entry_id
    FROM unnest(
        $23::text::uuid[], $24::text::uuid[], $25::text::uuid[], $26::text::bigint[], $27::text::bigint[],
        $28::text::numeric[], $29::text::numeric[], $30::text::numeric[], $31::text::numeric[],
        $32::text::timestamptz[], $33::text::timestamptz[], $34::text::numeric[], $35::text::numeric[],
        $36::text::bigint[], $37::text::integer[], $38::text::smallint[], $39::text::smallint[], $40::text::numeric[],
        $41::text::jsonb[], $42::text::uuid[]
    ) AS r (
        line_id, account_id, transaction_id, lock_version, shown_version, posted_debits, posted_credits, pending_debits,
        pending_credits, effective_at, discarded_effective_at, discarded_debits, discarded_credits, position,
        transaction_version, status, direction, amount, metadata, reverses_entry_id
    )
),
new_pairs AS (
    INSERT INTO metadata_pairs AS p (
        ledger_id, noun, key, value_head, block_position, offsets
    )
    SELECT
        $1::uuid, r.noun, r.key, r.value_head, r.block_position, r.offsets
    FROM unnest(
        $52::text::smallint[], $53::text::text[], $54::text::text[], $55::text::bigint[], $56::text::bytea[]
    ) AS r (
        noun, key, value_head, block_position, offsets
    )
    ON CONFLICT (ledger_id, noun, key, value_head, block_position)
    DO UPDATE SET offsets = p.offsets || CASE
        WHEN excluded.noun <> 3 THEN excluded.offsets
        ELSE coalesce(
            (
                SELECT string_agg(substring(excluded.offsets FROM n FOR 1), ''::bytea)
                FROM generate_series(1, octet_length(excluded.offsets)) AS n
                WHERE position(substring(excluded.offsets FROM n FOR 1) IN p.offsets) = 0
            ),
            ''
        )
    END
),
new_events AS (
    INSERT INTO events (
        ledger_id, position, payload, digest, time
    )
    SELECT
        $1::uuid, r.position, r.payload, r.digest, $2::timestamptz
    FROM unnest(
        $43::text::bigint[], $44::bytea[], $45::bytea[]
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
        $46::text::text[], $47::bytea[], $48::text::uuid[], $49::text::bigint[], $50::text::jsonb[]
    ) AS r (
        request_id, fingerprint, object_id, version, outcome
    )
)
UPDATE ledgers
SET position = CASE
        WHEN position = $57::bigint AND epoch = $58::uuid AND current_setting('transaction_isolation') = 'serializable'
        THEN $3::bigint
        ELSE -1
    END,
    digest = $4::bytea, event_time = $2::timestamptz
WHERE ledger_id = $1::uuid
