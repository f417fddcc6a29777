-- What most batches do, in one round trip: transactions and the versions they replace, account lines, how much of
-- entries is reversed, new accounts, category versions, monitors' states, metadata, events, outcomes, and the head of
-- the log.
-- Each table is modified once; foreign keys are checked at the end. Changed transactions come before new ones, which
-- may take an external id that they give up. ON CONFLICT finds them by the primary key, whatever the planner believes,
-- where a join may hold each against each.
-- Columns come as array literals, one text a column: encoding arrays element by element cost half of the server's time.
-- They are unnested in the list of what is selected: in FROM each of them is stored before it is read, a seventh of the
-- time of a long batch.
-- $1 ledger_id bigint, $2 now timestamptz, $3 position bigint, $4 digest bytea; then columns, as text unless said
-- otherwise
-- transactions:
--   $5 transaction_ids, $6 statuses, $7 archived_reasons, $8 entry_counts, $9 first_entry_ids, $10 positions,
--   $11 effective_ats, $12 descriptions, $13 external_ids, $14 metadatas, $15 expires_ats,
--   $16 versions, $17 created_positions, $18 created_ats, $19 updated_ats, $20 posted_ats, $21 reverses_ids,
--   $22 partially_posts_ids; a time that is null is now, unless it may be none; and $23 amounts
-- account_lines:
--   $24 line_ids, $25 account_ids, $26 transaction_ids, $27 lock_versions, $28 shown_versions, $29 posted_debits,
--   $30 posted_credits, $31 pending_debits, $32 pending_credits, $33 effective_ats, null: now, $34 positions,
--   $35 statuses, $36 directions, $37 amounts, $38 metadatas,
--   $39 transaction_versions, $40 reverses_entry_ids, $41 discarded_effective_ats, $42 discarded_debits,
--   $43 discarded_credits, $44 reverses_entry_times
-- events:
--   $45 positions, $46 payloads bytea[], $47 digests bytea[]
-- requests:
--   $48 request_ids, $49 fingerprints bytea[], $50 object_ids, $51 versions, $52 outcomes
-- metadata_pairs, of which those of entries may be there, from another entry or version of the transaction:
--   $53 nouns, $54 keys, $55 value_heads, $56 block_positions, $57 offsets, each row once
-- $58 position bigint and $59 epoch uuid: where the ledger stood when all this was decided. If it stands elsewhere, or
-- the session is not SERIALIZABLE, the position asked for is one that the table forbids, and nothing is written.
-- transaction_versions, those that were replaced:
--   $60 transaction_ids, $61 statuses, $62 archived_reasons, $63 entry_counts, $64 first_entry_ids, $65 positions,
--   $66 effective_ats, $67 descriptions, $68 external_ids, $69 metadatas, $70 expires_ats,
--   $71 versions, $72 created_positions, $73 created_ats, $74 updated_ats, $75 posted_ats, $76 reverses_ids,
--   $77 partially_posts_ids
-- category_versions:
--   $78 category_ids, $79 positions, $80 posted_debits, $81 posted_credits, $82 pending_debits, $83 pending_credits
-- monitors, those that turned:
--   $84 monitor_ids, $85 triggereds, $86 since_positions
-- entry_reversals:
--   $87 entry_ids, $88 reversed, $89 amounts
-- accounts, new ones, whose versions 0 are among the account_lines:
--   $90 account_ids, $91 names, $92 descriptions, $93 normal_balances, $94 currencies, $95 currency_exponents,
--   $96 external_ids, $97 metadatas, $98 created_positions, $99 statuses, $100 limits, $101 name_grams, as literals,
--   $102 deleted_ats
WITH replaced AS (
    INSERT INTO transaction_versions (
        ledger_id, transaction_id, version, status, archived_reason, entry_count, first_entry_id, position,
        created_position, created_at, updated_at, effective_at, posted_at, description, external_id, metadata,
        expires_at, reverses_id, partially_posts_id
    )
    SELECT
        $1::bigint, r.transaction_id, r.version, r.status, r.archived_reason, r.entry_count, r.first_entry_id,
        r.position, r.created_position, coalesce(r.created_at, $2::timestamptz),
        coalesce(r.updated_at, $2::timestamptz), coalesce(r.effective_at, $2::timestamptz),
        CASE WHEN r.status = 2 THEN coalesce(r.posted_at, $2::timestamptz) END,
        r.description, r.external_id, r.metadata, r.expires_at, r.reverses_id, r.partially_posts_id
    FROM (
        SELECT
            unnest($60::text::uuid[]) AS transaction_id,
            unnest($61::text::smallint[]) AS status,
            unnest($62::text::smallint[]) AS archived_reason,
            unnest($63::text::smallint[]) AS entry_count,
            unnest($64::text::bigint[]) AS first_entry_id,
            unnest($65::text::bigint[]) AS position,
            unnest($66::text::timestamptz[]) AS effective_at,
            unnest($67::text::text[]) AS description,
            unnest($68::text::text[]) AS external_id,
            unnest($69::text::jsonb[]) AS metadata,
            unnest($70::text::timestamptz[]) AS expires_at,
            unnest($71::text::bigint[]) AS version,
            unnest($72::text::bigint[]) AS created_position,
            unnest($73::text::timestamptz[]) AS created_at,
            unnest($74::text::timestamptz[]) AS updated_at,
            unnest($75::text::timestamptz[]) AS posted_at,
            unnest($76::text::uuid[]) AS reverses_id,
            unnest($77::text::uuid[]) AS partially_posts_id
    ) AS r
),
new_category_versions AS (
    INSERT INTO category_versions (
        ledger_id, category_id, position, posted_debits, posted_credits, pending_debits, pending_credits
    )
    SELECT
        $1::bigint, r.category_id, r.position, r.posted_debits, r.posted_credits, r.pending_debits, r.pending_credits
    FROM (
        SELECT
            unnest($78::text::uuid[]) AS category_id,
            unnest($79::text::bigint[]) AS position,
            unnest($80::text::numeric[]) AS posted_debits,
            unnest($81::text::numeric[]) AS posted_credits,
            unnest($82::text::numeric[]) AS pending_debits,
            unnest($83::text::numeric[]) AS pending_credits
    ) AS r
),
turned AS (
    UPDATE monitors AS m
    SET triggered = r.triggered, since_position = r.since_position, since = $2::timestamptz
    FROM (
        SELECT
            unnest($84::text::uuid[]) AS monitor_id,
            unnest($85::text::boolean[]) AS triggered,
            unnest($86::text::bigint[]) AS since_position
    ) AS r
    WHERE m.ledger_id = $1::bigint AND m.monitor_id = r.monitor_id
),
reversed_entries AS (
    INSERT INTO entry_reversals (
        ledger_id, entry_id, reversed, amount
    )
    SELECT
        $1::bigint, r.entry_id, r.reversed, r.amount
    FROM (
        SELECT
            unnest($87::text::bigint[]) AS entry_id,
            unnest($88::text::numeric[]) AS reversed,
            unnest($89::text::numeric[]) AS amount
    ) AS r
    ON CONFLICT (ledger_id, entry_id) DO UPDATE SET reversed = excluded.reversed
),
new_accounts AS (
    INSERT INTO accounts (
        ledger_id, account_id, normal_balance, currency, currency_exponent, created_position, created_at, updated_at,
        name, name_grams, description, external_id, metadata, status, limits, deleted_at
    )
    SELECT
        $1::bigint, r.account_id, r.normal_balance, r.currency, r.currency_exponent, r.created_position,
        $2::timestamptz, $2::timestamptz, r.name, r.name_grams::bigint[], r.description, r.external_id, r.metadata,
        r.status, r.limits, r.deleted_at
    FROM (
        SELECT
            unnest($90::text::uuid[]) AS account_id,
            unnest($91::text::text[]) AS name,
            unnest($92::text::text[]) AS description,
            unnest($93::text::smallint[]) AS normal_balance,
            unnest($94::text::text[]) AS currency,
            unnest($95::text::smallint[]) AS currency_exponent,
            unnest($96::text::text[]) AS external_id,
            unnest($97::text::jsonb[]) AS metadata,
            unnest($98::text::bigint[]) AS created_position,
            unnest($99::text::smallint[]) AS status,
            unnest($100::text::jsonb[]) AS limits,
            unnest($101::text::text[]) AS name_grams,
            unnest($102::text::timestamptz[]) AS deleted_at
    ) AS r
),
transactions_now AS (
    INSERT INTO transactions (
        ledger_id, transaction_id, version, status, archived_reason, entry_count, first_entry_id, position,
        created_position, created_at, updated_at, effective_at, posted_at, description, external_id, metadata,
        expires_at, reverses_id, partially_posts_id, amount
    )
    SELECT
        $1::bigint, r.transaction_id, r.version, r.status, r.archived_reason, r.entry_count, r.first_entry_id,
        r.position, r.created_position, coalesce(r.created_at, $2::timestamptz),
        coalesce(r.updated_at, $2::timestamptz), coalesce(r.effective_at, $2::timestamptz),
        CASE WHEN r.status = 2 THEN coalesce(r.posted_at, $2::timestamptz) END,
        r.description, r.external_id, r.metadata, r.expires_at, r.reverses_id, r.partially_posts_id, r.amount
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
            unnest($16::text::bigint[]) AS version,
            unnest($17::text::bigint[]) AS created_position,
            unnest($18::text::timestamptz[]) AS created_at,
            unnest($19::text::timestamptz[]) AS updated_at,
            unnest($20::text::timestamptz[]) AS posted_at,
            unnest($21::text::uuid[]) AS reverses_id,
            unnest($22::text::uuid[]) AS partially_posts_id,
            unnest($23::text::numeric[]) AS amount
    ) AS r
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
        pending_debits, pending_credits, discarded_debits, discarded_credits, metadata, reverses_entry_id,
        reverses_entry_time
    )
    SELECT
        $1::bigint, r.line_id, r.account_id, r.transaction_id, r.lock_version, r.shown_version, r.position,
        $2::timestamptz, nullif(r.effective_at, $2::timestamptz), r.discarded_effective_at,
        nullif(r.transaction_version, 0), r.status, r.direction, r.amount, r.posted_debits, r.posted_credits,
        r.pending_debits, r.pending_credits, r.discarded_debits, r.discarded_credits, r.metadata, r.reverses_entry_id,
        r.reverses_entry_time
    FROM (
        SELECT
            unnest($24::text::bigint[]) AS line_id,
            unnest($25::text::uuid[]) AS account_id,
            unnest($26::text::uuid[]) AS transaction_id,
            unnest($27::text::bigint[]) AS lock_version,
            unnest($28::text::bigint[]) AS shown_version,
            unnest($29::text::numeric[]) AS posted_debits,
            unnest($30::text::numeric[]) AS posted_credits,
            unnest($31::text::numeric[]) AS pending_debits,
            unnest($32::text::numeric[]) AS pending_credits,
            unnest($33::text::timestamptz[]) AS effective_at,
            unnest($34::text::bigint[]) AS position,
            unnest($35::text::smallint[]) AS status,
            unnest($36::text::smallint[]) AS direction,
            unnest($37::text::numeric[]) AS amount,
            unnest($38::text::jsonb[]) AS metadata,
            unnest($39::text::integer[]) AS transaction_version,
            unnest($40::text::bigint[]) AS reverses_entry_id,
            unnest($41::text::timestamptz[]) AS discarded_effective_at,
            unnest($42::text::numeric[]) AS discarded_debits,
            unnest($43::text::numeric[]) AS discarded_credits,
            unnest($44::text::timestamptz[]) AS reverses_entry_time
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
            unnest($53::text::smallint[]) AS noun,
            unnest($54::text::text[]) AS key,
            unnest($55::text::text[]) AS value_head,
            unnest($56::text::bigint[]) AS block_position,
            unnest($57::text::bytea[]) AS offsets
    ) AS r
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
        $1::bigint, r.position, r.payload, r.digest, $2::timestamptz
    FROM (
        SELECT
            unnest($45::text::bigint[]) AS position,
            unnest($46::bytea[]) AS payload,
            unnest($47::bytea[]) AS digest
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
            unnest($48::text::text[]) AS request_id,
            unnest($49::bytea[]) AS fingerprint,
            unnest($50::text::uuid[]) AS object_id,
            unnest($51::text::bigint[]) AS version,
            unnest($52::text::jsonb[]) AS outcome
    ) AS r
)
UPDATE ledgers
SET position = CASE
        WHEN position = $58::bigint AND epoch = $59::uuid AND current_setting('transaction_isolation') = 'serializable'
        THEN $3::bigint
        ELSE -1
    END,
    digest = $4::bytea, event_time = $2::timestamptz
WHERE ledger_id = $1::bigint
