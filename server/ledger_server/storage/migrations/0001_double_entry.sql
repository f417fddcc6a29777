-- The books. Every row leads with its ledger_id, every key and foreign key contains it, and no statement
-- touches two ledgers, so that ledgers can be spread over machines by that column alone.
-- Transactions, events and requests have no foreign key to ledgers: they are only written under the lock of that very
-- row, and the checks would cost an eighth of PostgreSQL's time.

CREATE TABLE ledgers (
    ledger_id    bigint      NOT NULL PRIMARY KEY,
    name         text        NOT NULL,
    description  text        NOT NULL,
    metadata     jsonb       NOT NULL,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    -- The head of the ledger's log. Handing out positions by updating this one locked row is what makes them
    -- dense and in commit order.
    position     bigint      NOT NULL,
    event_time   timestamptz NOT NULL,
    digest       bytea       NOT NULL,
    epoch        uuid        NOT NULL,
    -- The books are closed before this time.
    closed_before timestamptz,
    -- From then on nobody finds it.
    deleted_at   timestamptz,
    -- How many balance monitors there are; while there are none, none are looked for.
    monitor_count bigint NOT NULL DEFAULT 0,
    CONSTRAINT ledger_monitor_count_not_negative CHECK (monitor_count >= 0),
    CONSTRAINT ledger_position_not_negative CHECK (position >= 0),
    CONSTRAINT ledger_digest_is_sha256 CHECK (octet_length(digest) = 32)
) WITH (fillfactor = 50);

-- ListLedgers pages by it.
CREATE INDEX ledgers_by_creation ON ledgers (created_at, ledger_id) WHERE deleted_at IS NULL;

-- The nil ledger: the scope of CreateLedger's request ids and the log of ledgers created.
INSERT INTO ledgers (ledger_id, name, description, metadata, created_at, updated_at, position, event_time,
    digest, epoch)
VALUES (0, 'registry', 'The ledger of ledgers.', '{}', now(), now(), 0, now(),
        sha256(''), gen_random_uuid());

-- What is not money about accounts. Their money is in account_lines, so posting updates no account.
CREATE TABLE accounts (
    ledger_id         bigint      NOT NULL,
    account_id        uuid        NOT NULL,
    normal_balance    smallint    NOT NULL,
    currency          text        NOT NULL,
    currency_exponent smallint    NOT NULL,
    created_position  bigint      NOT NULL,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    name              text        NOT NULL,
    -- Of the pieces of the name, see name_grams.py; lists find it by them.
    name_grams        bigint[]    NOT NULL,
    description       text        NOT NULL,
    external_id       text,
    metadata          jsonb       NOT NULL,
    -- 1 open, 2 debits frozen, 3 credits frozen, 4 frozen, 5 closed.
    status            smallint    NOT NULL,
    -- Standing limits, null if there are none: [[balance, min, max], …]; their history is in account_limits.
    limits            jsonb,
    -- Deleted accounts are closed, for good.
    deleted_at        timestamptz,
    CONSTRAINT accounts_pkey PRIMARY KEY (ledger_id, account_id),
    CONSTRAINT account_of_a_ledger FOREIGN KEY (ledger_id) REFERENCES ledgers (ledger_id),
    CONSTRAINT account_normal_balance_known CHECK (normal_balance IN (1, 2)),
    CONSTRAINT account_currency_exponent_in_range CHECK (currency_exponent BETWEEN 0 AND 30),
    CONSTRAINT account_status_known CHECK (status BETWEEN 1 AND 5),
    CONSTRAINT account_external_id_not_empty CHECK (external_id <> ''),
    CONSTRAINT account_deleted_is_closed CHECK (deleted_at IS NULL OR status = 5)
);

-- Free again after deletion.
CREATE UNIQUE INDEX account_external_id_unique ON accounts (ledger_id, external_id)
    WHERE external_id IS NOT NULL AND deleted_at IS NULL;
-- Created order is position order; ListAccounts pages by it.
CREATE UNIQUE INDEX account_created_position_unique ON accounts (ledger_id, created_position);

-- Every change of an account's limits, from the position of the command that made it on. Rows are only ever inserted.
CREATE TABLE account_limits (
    ledger_id  bigint      NOT NULL,
    account_id uuid        NOT NULL,
    position   bigint      NOT NULL,
    changed_at timestamptz NOT NULL,
    limits     jsonb,
    CONSTRAINT account_limits_pkey PRIMARY KEY (ledger_id, account_id, position),
    CONSTRAINT limits_of_an_account FOREIGN KEY (ledger_id, account_id) REFERENCES accounts (ledger_id, account_id)
);

-- A currency code's exponent, fixed by the ledger's first account of it.
CREATE TABLE currencies (
    ledger_id         bigint   NOT NULL,
    currency          text     NOT NULL,
    currency_exponent smallint NOT NULL,
    CONSTRAINT currencies_pkey PRIMARY KEY (ledger_id, currency),
    CONSTRAINT currency_of_a_ledger FOREIGN KEY (ledger_id) REFERENCES ledgers (ledger_id),
    CONSTRAINT currency_exponent_in_range CHECK (currency_exponent BETWEEN 0 AND 30)
);

-- The newest version of each transaction. An older version moves to transaction_versions when it is replaced.
CREATE TABLE transactions (
    ledger_id        bigint      NOT NULL,
    transaction_id   uuid        NOT NULL,
    version          bigint      NOT NULL,
    position         bigint      NOT NULL,
    created_position bigint      NOT NULL,
    -- The entries standing at this version: first_entry_id and the entry_count - 1 ids after it.
    first_entry_id   bigint      NOT NULL,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    effective_at     timestamptz NOT NULL,
    posted_at        timestamptz,
    expires_at       timestamptz,
    -- 1 pending, 2 posted, 3 archived.
    status           smallint    NOT NULL,
    -- 0 while not archived.
    archived_reason  smallint    NOT NULL,
    entry_count      smallint    NOT NULL,
    description      text        NOT NULL,
    external_id      text,
    metadata         jsonb       NOT NULL,
    -- The posted transaction that this one reverses.
    reverses_id      uuid,
    -- The pending transaction of which this one is a part.
    partially_posts_id uuid,
    -- The sum of its debits, if all of its entries are of one currency; otherwise null.
    amount           numeric,
    CONSTRAINT transactions_pkey PRIMARY KEY (ledger_id, transaction_id),
    CONSTRAINT transaction_version_not_negative CHECK (version >= 0),
    CONSTRAINT transaction_status_known CHECK (status = ANY ('{1,2,3}')),
    CONSTRAINT transaction_archived_for_a_reason CHECK ((status = 3) = (archived_reason <> 0)),
    CONSTRAINT transaction_posted_at_some_time CHECK ((status = 2) = (posted_at IS NOT NULL)),
    CONSTRAINT transaction_entry_count_in_range CHECK (entry_count BETWEEN 2 AND 1000),
    CONSTRAINT transaction_external_id_not_empty CHECK (external_id <> ''),
    CONSTRAINT transaction_reverses_a_transaction FOREIGN KEY (ledger_id, reverses_id)
        REFERENCES transactions (ledger_id, transaction_id),
    CONSTRAINT transaction_is_part_of_a_transaction FOREIGN KEY (ledger_id, partially_posts_id)
        REFERENCES transactions (ledger_id, transaction_id)
);

-- Free again after archiving.
CREATE UNIQUE INDEX transaction_external_id_unique ON transactions (ledger_id, external_id)
    WHERE external_id IS NOT NULL AND status <> 3;
-- Created order is position order; ListTransactions pages by it.
CREATE UNIQUE INDEX transaction_created_position_unique ON transactions (ledger_id, created_position);

-- What the sweep looks for.
CREATE INDEX transactions_to_expire ON transactions (expires_at) WHERE status = 1 AND expires_at IS NOT NULL;
-- By which transactions a transaction is reversed.
CREATE INDEX transactions_reversing ON transactions (ledger_id, reverses_id) WHERE reverses_id IS NOT NULL;

-- The versions that were replaced, as they were. Rows are only ever inserted.
CREATE TABLE transaction_versions (
    ledger_id        bigint      NOT NULL,
    transaction_id   uuid        NOT NULL,
    version          bigint      NOT NULL,
    position         bigint      NOT NULL,
    created_position bigint      NOT NULL,
    first_entry_id   bigint      NOT NULL,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    effective_at     timestamptz NOT NULL,
    posted_at        timestamptz,
    expires_at       timestamptz,
    status           smallint    NOT NULL,
    archived_reason  smallint    NOT NULL,
    entry_count      smallint    NOT NULL,
    description      text        NOT NULL,
    external_id      text,
    metadata         jsonb       NOT NULL,
    reverses_id      uuid,
    partially_posts_id uuid,
    CONSTRAINT transaction_versions_pkey PRIMARY KEY (ledger_id, transaction_id, version),
    CONSTRAINT version_of_a_transaction FOREIGN KEY (ledger_id, transaction_id)
        REFERENCES transactions (ledger_id, transaction_id)
);

-- The lines of accounts, as in a passbook: what was entered, and the counters after the command that did. A row is an
-- entry, or a version of its account, and nearly always both: they share it, so nearly half as much is written, and an
-- entry needs no look for its version. Rows are only ever inserted: an account stands at its newest version, and two
-- writers cannot both write the next. The views account_versions and entries tell the one and the other.
CREATE TABLE account_lines (
    ledger_id       bigint      NOT NULL,
    -- The entry's id, as a number; see domain/ids.py. The lines written by one transaction version have consecutive
    -- ones, its entries before others, so the primary key finds both an entry and the entries of a version.
    line_id         bigint      NOT NULL,
    account_id      uuid        NOT NULL,
    -- Of the entry, and of what moved the lock_version; null at lock_version 0.
    transaction_id  uuid,
    -- The version that the row is, or else the one that the entry shows, made by another row: by a command's first
    -- entry on the account, or before, where a failed condition archived the entry.
    lock_version    bigint,
    shown_version   bigint,
    -- Of the command, and its time.
    position        bigint      NOT NULL,
    written_at      timestamptz NOT NULL,
    -- The effective time of what the command changed: the difference of the counters to the version before. Null where
    -- that is its time, as in nearly every row.
    effective_at    timestamptz,
    -- Null unless pending amounts were taken away at another effective time than the one written at. These are they;
    -- they count from that time on, and the rest of the difference from effective_at on.
    discarded_effective_at timestamptz,
    -- The entry: null where the command only took away what was pending. Its status is the transaction's when it was
    -- written; its transaction's version is null if it is 0, as in nearly every row.
    transaction_version integer,
    status              smallint,
    direction           smallint,
    amount              numeric,
    -- The counters, of a version.
    posted_debits   numeric,
    posted_credits  numeric,
    pending_debits  numeric,
    pending_credits numeric,
    discarded_debits  numeric,
    discarded_credits numeric,
    -- Of the entry as written; null when empty.
    metadata            jsonb,
    -- The entry that this entry of a reversal reverses.
    reverses_entry_id   bigint,
    -- When that was written, in milliseconds, as its id tells it.
    reverses_entry_time timestamptz,
    CONSTRAINT account_lines_pkey PRIMARY KEY (ledger_id, line_id),
    -- Also the index by which an account's entries and transactions are found.
    CONSTRAINT account_version_unique UNIQUE (ledger_id, account_id, lock_version),
    CONSTRAINT line_of_an_account FOREIGN KEY (ledger_id, account_id) REFERENCES accounts (ledger_id, account_id),
    CONSTRAINT line_of_a_transaction FOREIGN KEY (ledger_id, transaction_id)
        REFERENCES transactions (ledger_id, transaction_id),
    CONSTRAINT entry_shows_an_account_version FOREIGN KEY (ledger_id, account_id, shown_version)
        REFERENCES account_lines (ledger_id, account_id, lock_version),
    CONSTRAINT entry_reverses_an_entry FOREIGN KEY (ledger_id, reverses_entry_id)
        REFERENCES account_lines (ledger_id, line_id),
    CONSTRAINT line_is_or_shows_a_version CHECK ((lock_version IS NULL) <> (shown_version IS NULL)),
    -- Each statement on a table reads the text of its CHECKs anew, whatever it writes: they were a fifth of
    -- PostgreSQL's time for a lone transaction. So these have few terms, and constants that need no cast.
    CONSTRAINT version_whole_or_none CHECK (
        num_nulls(lock_version, posted_debits, posted_credits, pending_debits, pending_credits) = ANY ('{0,5}')
    ),
    -- Nulls are ignored.
    CONSTRAINT line_amounts_not_negative CHECK (
        least(
            amount, posted_debits, posted_credits, pending_debits, pending_credits, discarded_debits, discarded_credits
        ) >= '0'
    ),
    CONSTRAINT version_lock_version_not_negative CHECK (lock_version >= 0),
    CONSTRAINT version_zero_is_of_no_transaction
        CHECK ((lock_version IS NOT DISTINCT FROM 0) = (transaction_id IS NULL)),
    CONSTRAINT line_position_positive CHECK (position > 0),
    CONSTRAINT line_effective_at_null_if_written_then CHECK (effective_at <> written_at),
    CONSTRAINT version_discards_whole_or_nothing CHECK (
        num_nulls(discarded_effective_at, discarded_debits, discarded_credits)
        = ANY (CASE WHEN lock_version IS NULL THEN '{3}' ELSE '{0,3}'::integer[] END)
    ),
    CONSTRAINT entry_whole_or_none CHECK (
        CASE
            WHEN direction IS NULL
                THEN num_nonnulls(transaction_version, status, amount, metadata, reverses_entry_id, reverses_entry_time)
            ELSE num_nulls(transaction_id, status, amount) + num_nulls(reverses_entry_id, reverses_entry_time) % 2
        END = 0
    ),
    CONSTRAINT line_is_an_entry_or_a_version CHECK (direction IS NOT NULL OR lock_version IS NOT NULL),
    CONSTRAINT entry_transaction_version_positive CHECK (transaction_version > 0),
    CONSTRAINT entry_status_known CHECK (status = ANY ('{1,2,3}')),
    CONSTRAINT entry_direction_known CHECK (direction = ANY ('{1,2}')),
    CONSTRAINT entry_amount_in_range CHECK (amount < '1e36' AND scale(amount) = 0)
);

-- The counters of an account after each command that moved its lock_version, from 0 at its creation.
CREATE VIEW account_versions AS
SELECT
    ledger_id, account_id, lock_version, position, transaction_id, posted_debits, posted_credits, pending_debits,
    pending_credits, written_at, coalesce(effective_at, written_at) AS effective_at, discarded_effective_at,
    discarded_debits, discarded_credits
FROM account_lines
WHERE lock_version IS NOT NULL;

-- The entries of transactions, those of one version with consecutive ids.
CREATE VIEW entries AS
SELECT
    ledger_id, line_id AS entry_id, transaction_id, account_id,
    coalesce(lock_version, shown_version) AS account_lock_version,
    coalesce(transaction_version, 0) AS transaction_version, status, direction, amount, written_at, metadata,
    reverses_entry_id, reverses_entry_time
FROM account_lines
WHERE direction IS NOT NULL;

-- Accounts as they stand.
CREATE VIEW accounts_with_balances AS
SELECT
    a.ledger_id, a.account_id, a.name, a.description, a.normal_balance, a.currency, a.currency_exponent, a.external_id,
    a.metadata, a.created_position, a.created_at, a.updated_at, a.status AS account_status, a.limits, a.deleted_at,
    v.lock_version, v.posted_debits, v.posted_credits, v.pending_debits, v.pending_credits,
    v.position AS balance_position
FROM accounts a
CROSS JOIN LATERAL (
    SELECT lock_version, posted_debits, posted_credits, pending_debits, pending_credits, position
    FROM account_versions
    WHERE ledger_id = a.ledger_id AND account_id = a.account_id
    ORDER BY lock_version DESC
    LIMIT 1
) v;

-- How much of an entry is reversed, once something is.
CREATE TABLE entry_reversals (
    ledger_id bigint  NOT NULL,
    entry_id  bigint  NOT NULL,
    reversed  numeric NOT NULL,
    amount    numeric NOT NULL,
    CONSTRAINT entry_reversals_pkey PRIMARY KEY (ledger_id, entry_id),
    CONSTRAINT reversal_of_an_entry FOREIGN KEY (ledger_id, entry_id) REFERENCES account_lines (ledger_id, line_id),
    CONSTRAINT reversal_never_exceeds_the_entry CHECK (reversed BETWEEN 0 AND amount)
);

-- The log: one row per accepted command, and one for each monitor's edge behind it. Rows are only ever inserted, and
-- pruned from the oldest.
CREATE TABLE events (
    ledger_id bigint      NOT NULL,
    position  bigint      NOT NULL,
    time      timestamptz NOT NULL,
    -- All of ledger.v1.Event that does not follow from the rest; see events/stored.py.
    payload   bytea       NOT NULL,
    -- sha256(digest of the event before || time, in microseconds since 1970, as eight bytes || payload).
    digest    bytea       NOT NULL,
    CONSTRAINT events_pkey PRIMARY KEY (ledger_id, position),
    CONSTRAINT event_position_positive CHECK (position > 0),
    CONSTRAINT event_digest_is_sha256 CHECK (octet_length(digest) = 32)
);

-- What became of each request_id. Rows are only ever inserted, and pruned from the oldest.
CREATE TABLE requests (
    ledger_id   bigint           NOT NULL,
    created_at  timestamptz      NOT NULL,
    -- The transaction version that was written, when one was; its number is null if it is 0.
    version     bigint,
    object_id   uuid,
    -- Ids that sort by time are to be neighbours in the index.
    request_id  text COLLATE "C" NOT NULL,
    -- Tells a repetition from another request under the same id; see domain/fingerprint.py.
    fingerprint bytea            NOT NULL,
    -- Everything else: the account or ledger as written, an atomic batch's results, or the refusal.
    outcome     jsonb,
    CONSTRAINT requests_pkey PRIMARY KEY (ledger_id, request_id),
    CONSTRAINT request_id_in_range CHECK (length(request_id) BETWEEN 1 AND 128),
    CONSTRAINT request_has_one_outcome CHECK ((object_id IS NULL) <> (outcome IS NULL)),
    CONSTRAINT request_version_positive_of_an_object CHECK (
        CASE WHEN object_id IS NULL THEN version IS NULL ELSE version > 0 END
    )
);
