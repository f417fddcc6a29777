-- What lists are read by. Each index costs every posting, so what is usual for a transaction, posted at once and never
-- changed, is in none that an order or an amount does not need; times of creation need none, as positions rise with
-- them.

-- In effective order, and by effective time, if that is not the time of creation; the others are in created order among
-- themselves. Of these an index only knows among which 64 positions they are: equal keys are kept once, so that one
-- costs some 10 bytes instead of 40 to 70.
CREATE INDEX transactions_by_effect ON transactions (ledger_id, effective_at, created_position)
    WHERE effective_at <> created_at;
CREATE INDEX transactions_effective_at_once ON transactions (ledger_id, (created_position / 64))
    WHERE effective_at = created_at;
-- By the amount of a transaction of a single currency.
CREATE INDEX transactions_by_amount ON transactions (ledger_id, amount) WHERE amount IS NOT NULL;
-- Pending transactions, which have the reason 0, and archived ones by reason.
CREATE INDEX transactions_not_posted ON transactions (ledger_id, archived_reason, created_position)
    WHERE posted_at IS NULL;
-- By the time of the last change and of posting, where that is not the time of creation.
CREATE INDEX transactions_by_update ON transactions (ledger_id, updated_at, created_position) WHERE version > 0;
CREATE INDEX transactions_by_posting ON transactions (ledger_id, posted_at, created_position)
    WHERE posted_at > created_at;
-- By when a version was written that was replaced since; those that stand are in the index before, the first ones in
-- created order.
CREATE INDEX transaction_versions_by_update ON transaction_versions (ledger_id, updated_at, created_position)
    WHERE version > 0;
-- Those whose entries may have other amounts than they.
CREATE INDEX transactions_of_many_entries ON transactions (ledger_id, created_position) WHERE entry_count > 2;
-- The parts of a pending transaction.
CREATE INDEX transactions_partially_posting ON transactions (ledger_id, partially_posts_id)
    WHERE partially_posts_id IS NOT NULL;

CREATE INDEX accounts_by_currency ON accounts (ledger_id, currency, created_position);
CREATE INDEX accounts_by_normal_balance ON accounts (ledger_id, normal_balance, created_position);
CREATE INDEX accounts_by_status ON accounts (ledger_id, status, created_position);
-- By what their names contain; the ledger is in each number. Its pending list is short, so that no batch waits for it.
CREATE INDEX accounts_by_name ON accounts USING gin (name_grams) WITH (gin_pending_list_limit = 256);
CREATE INDEX accounts_by_update ON accounts (ledger_id, updated_at, created_position) WHERE updated_at > created_at;

-- The metadata of transactions and accounts as they stand, pair by pair, in created order; and what entries ever had,
-- by their transactions. What a list finds here it looks up in the object itself, so a long value is represented by its
-- first characters: a key of an index has limits. A row is for all objects with the pair among 256 created positions, as
-- what many have would else be most of the table.
CREATE TABLE metadata_pairs (
    ledger_id        bigint           NOT NULL,
    -- The first of the 256 positions: a multiple of 256.
    block_position   bigint           NOT NULL,
    -- 1 transactions, 2 accounts, 3 entries, of any version of the transaction.
    noun             smallint         NOT NULL,
    key              text COLLATE "C" NOT NULL,
    -- The first 100 characters of the value.
    value_head       text COLLATE "C" NOT NULL,
    -- Those of the objects that have the pair, a byte for each, counted from the first.
    offsets          bytea            NOT NULL,
    CONSTRAINT metadata_pairs_pkey PRIMARY KEY (ledger_id, noun, key, value_head, block_position),
    CONSTRAINT pair_block_is_of_256 CHECK (block_position >= 0 AND block_position % '256' = 0),
    CONSTRAINT pair_offsets_are_of_a_block CHECK (octet_length(offsets) BETWEEN 1 AND 256),
    CONSTRAINT pair_noun_known CHECK (noun = ANY ('{1,2,3}')),
    CONSTRAINT pair_value_head_in_range CHECK (length(value_head) <= 100)
);

-- Metadata of entries that was changed since they were written; the entries themselves never change.
CREATE TABLE entry_metadata (
    ledger_id  bigint      NOT NULL,
    entry_id   bigint      NOT NULL,
    metadata   jsonb       NOT NULL,
    updated_at timestamptz NOT NULL,
    -- Of the command that changed it last.
    position   bigint      NOT NULL,
    CONSTRAINT entry_metadata_pkey PRIMARY KEY (ledger_id, entry_id),
    CONSTRAINT metadata_of_an_entry FOREIGN KEY (ledger_id, entry_id) REFERENCES account_lines (ledger_id, line_id)
);

CREATE INDEX entry_metadata_by_update ON entry_metadata (ledger_id, updated_at);
