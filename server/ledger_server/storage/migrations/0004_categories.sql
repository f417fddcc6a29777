-- Categories: what is not money about them, their counters, and who is in them since when.
-- "Under" a category is what is in it, directly or through nested categories. Nesting is at most five levels deep, so
-- it is walked when it is asked for.

CREATE TABLE categories (
    ledger_id         bigint      NOT NULL,
    category_id       uuid        NOT NULL,
    normal_balance    smallint    NOT NULL,
    currency          text        NOT NULL,
    currency_exponent smallint    NOT NULL,
    created_position  bigint      NOT NULL,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    name              text        NOT NULL,
    description       text        NOT NULL,
    external_id       text,
    metadata          jsonb       NOT NULL,
    -- Null while it is there. Deletion ends all that its accounts had to do with it, without touching their rows.
    deleted_position  bigint,
    deleted_at        timestamptz,
    CONSTRAINT categories_pkey PRIMARY KEY (ledger_id, category_id),
    CONSTRAINT category_of_a_ledger FOREIGN KEY (ledger_id) REFERENCES ledgers (ledger_id),
    CONSTRAINT category_normal_balance_known CHECK (normal_balance IN (1, 2)),
    CONSTRAINT category_currency_exponent_in_range CHECK (currency_exponent BETWEEN 0 AND 30),
    CONSTRAINT category_external_id_not_empty CHECK (external_id <> ''),
    CONSTRAINT category_deleted_at_a_position CHECK ((deleted_position IS NULL) = (deleted_at IS NULL))
);

CREATE UNIQUE INDEX category_external_id_unique ON categories (ledger_id, external_id)
    WHERE external_id IS NOT NULL AND deleted_position IS NULL;
-- Created order is position order; ListCategories pages by it.
CREATE UNIQUE INDEX category_created_position_unique ON categories (ledger_id, created_position);
CREATE INDEX categories_by_currency ON categories (ledger_id, currency, created_position);
CREATE INDEX categories_by_normal_balance ON categories (ledger_id, normal_balance, created_position);

-- The counters of a category after each command that moved an account under it, or changed which accounts those are,
-- from its creation on. Rows are only ever inserted: as of any position they are one row, the newest one not after it.
-- No foreign key: they are only written under the ledger's lock, for categories that were read there, and every posting
-- writes several.
CREATE TABLE category_versions (
    ledger_id       bigint  NOT NULL,
    category_id     uuid    NOT NULL,
    position        bigint  NOT NULL,
    posted_debits   numeric NOT NULL,
    posted_credits  numeric NOT NULL,
    pending_debits  numeric NOT NULL,
    pending_credits numeric NOT NULL,
    CONSTRAINT category_versions_pkey PRIMARY KEY (ledger_id, category_id, position),
    CONSTRAINT category_counters_not_negative
        CHECK (posted_debits >= 0 AND posted_credits >= 0 AND pending_debits >= 0 AND pending_credits >= 0)
);

-- Accounts that are directly in a category, each from the position of the command that put it there to that of the one
-- that took it out, null while it is in. After the category's own deletion it is in no more, whatever stands here.
CREATE TABLE category_accounts (
    ledger_id      bigint NOT NULL,
    category_id    uuid   NOT NULL,
    account_id     uuid   NOT NULL,
    from_position  bigint NOT NULL,
    until_position bigint,
    CONSTRAINT category_accounts_pkey PRIMARY KEY (ledger_id, category_id, account_id, from_position),
    CONSTRAINT account_is_in_a_category FOREIGN KEY (ledger_id, category_id)
        REFERENCES categories (ledger_id, category_id),
    CONSTRAINT category_holds_an_account FOREIGN KEY (ledger_id, account_id)
        REFERENCES accounts (ledger_id, account_id),
    CONSTRAINT account_leaves_after_it_came CHECK (until_position > from_position)
);

-- An account is directly in a category once.
CREATE UNIQUE INDEX category_account_unique ON category_accounts (ledger_id, category_id, account_id)
    WHERE until_position IS NULL;
-- The categories that an account is, or was, directly in.
CREATE INDEX category_accounts_by_account ON category_accounts (ledger_id, account_id, category_id);

-- Categories that are directly in a category, dated likewise; the deletion of either ends it here too.
CREATE TABLE category_nestings (
    ledger_id          bigint NOT NULL,
    category_id        uuid   NOT NULL,
    member_category_id uuid   NOT NULL,
    from_position      bigint NOT NULL,
    until_position     bigint,
    CONSTRAINT category_nestings_pkey PRIMARY KEY (ledger_id, category_id, member_category_id, from_position),
    CONSTRAINT nesting_in_a_category FOREIGN KEY (ledger_id, category_id)
        REFERENCES categories (ledger_id, category_id),
    CONSTRAINT nesting_of_a_category FOREIGN KEY (ledger_id, member_category_id)
        REFERENCES categories (ledger_id, category_id),
    CONSTRAINT category_is_not_in_itself CHECK (category_id <> member_category_id),
    CONSTRAINT category_leaves_after_it_came CHECK (until_position > from_position)
);

CREATE UNIQUE INDEX category_nesting_unique ON category_nestings (ledger_id, category_id, member_category_id)
    WHERE until_position IS NULL;
-- The categories that a category is, or was, directly in.
CREATE INDEX category_nestings_by_member ON category_nestings (ledger_id, member_category_id, category_id);

-- Categories as they stand, deleted ones included.
CREATE VIEW categories_with_balances AS
SELECT
    c.ledger_id, c.category_id, c.name, c.description, c.normal_balance, c.currency, c.currency_exponent, c.external_id,
    c.metadata, c.created_position, c.created_at, c.updated_at, c.deleted_position, c.deleted_at,
    v.posted_debits, v.posted_credits, v.pending_debits, v.pending_credits, v.position AS balance_position
FROM categories c
CROSS JOIN LATERAL (
    SELECT posted_debits, posted_credits, pending_debits, pending_credits, position
    FROM category_versions
    WHERE ledger_id = c.ledger_id AND category_id = c.category_id
    ORDER BY position DESC
    LIMIT 1
) v;
