-- The least that could be called a ledger, with the row shape of ours. Frozen: figures are ratios to what it does,
-- so a change here would change their meaning.

CREATE TABLE accounts (
    account_id uuid    NOT NULL PRIMARY KEY,
    debits     numeric NOT NULL,
    credits    numeric NOT NULL
);

CREATE TABLE transactions (
    transaction_id uuid        NOT NULL PRIMARY KEY,
    external_id    text        NOT NULL UNIQUE,
    created_at     timestamptz NOT NULL,
    metadata       jsonb       NOT NULL
);

CREATE TABLE entries (
    entry_id       uuid     NOT NULL PRIMARY KEY,
    transaction_id uuid     NOT NULL,
    account_id     uuid     NOT NULL,
    direction      smallint NOT NULL,
    amount         numeric  NOT NULL,
    -- The account's, after this entry: credits - debits.
    balance        numeric  NOT NULL
);

CREATE INDEX entries_by_account ON entries (account_id);
