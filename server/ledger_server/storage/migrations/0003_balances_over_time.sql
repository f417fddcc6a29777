-- By what an account with many versions is read at an effective time. All of it is made from account_versions, beside
-- the lanes, and may be thrown away: it is made again.

-- How far each account's versions are folded, and into which runs: a run covers the lock_versions from its start to the
-- next run's, the last one to folded_version. Locking this row is what keeps two servers from folding at once.
CREATE TABLE account_timelines (
    ledger_id      bigint   NOT NULL,
    account_id     uuid     NOT NULL,
    folded_version bigint   NOT NULL,
    run_starts     bigint[] NOT NULL,
    CONSTRAINT account_timelines_pkey PRIMARY KEY (ledger_id, account_id),
    CONSTRAINT timeline_of_an_account FOREIGN KEY (ledger_id, account_id) REFERENCES accounts (ledger_id, account_id),
    CONSTRAINT timeline_has_runs_if_folded CHECK ((folded_version > 0) = (cardinality(run_starts) > 0))
);

-- The changes of a run by effective time, cut into blocks. A block holds the sums of all changes before it in its run,
-- and with each of its own changes the sums from the block's first to that one: so one place in one block tells what a
-- run had changed at any time.
CREATE TABLE account_timeline_blocks (
    ledger_id         bigint      NOT NULL,
    account_id        uuid        NOT NULL,
    run_start         bigint      NOT NULL,
    -- Of the first change.
    from_effective_at timestamptz NOT NULL,
    number            integer     NOT NULL,
    posted_debits     numeric     NOT NULL,
    posted_credits    numeric     NOT NULL,
    pending_debits    numeric     NOT NULL,
    pending_credits   numeric     NOT NULL,
    effective_ats        timestamptz[] NOT NULL,
    posted_debits_sums   numeric[]     NOT NULL,
    posted_credits_sums  numeric[]     NOT NULL,
    pending_debits_sums  numeric[]     NOT NULL,
    pending_credits_sums numeric[]     NOT NULL,
    CONSTRAINT account_timeline_blocks_pkey PRIMARY KEY (ledger_id, account_id, run_start, from_effective_at, number),
    CONSTRAINT block_of_a_timeline FOREIGN KEY (ledger_id, account_id)
        REFERENCES account_timelines (ledger_id, account_id)
);
