-- Where the verification of a log starts once its oldest events are pruned: after the last one that went. No row: at
-- the beginning.
CREATE TABLE log_checkpoints (
    ledger_id bigint NOT NULL,
    position  bigint NOT NULL,
    -- Of the event at this position, which covers all before it.
    digest    bytea  NOT NULL,
    CONSTRAINT log_checkpoints_pkey PRIMARY KEY (ledger_id),
    CONSTRAINT checkpoint_of_a_ledger FOREIGN KEY (ledger_id) REFERENCES ledgers (ledger_id),
    CONSTRAINT checkpoint_position_positive CHECK (position > 0),
    CONSTRAINT checkpoint_digest_is_sha256 CHECK (octet_length(digest) = 32)
);
