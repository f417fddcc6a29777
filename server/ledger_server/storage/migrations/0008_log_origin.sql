-- Where positions are handed out: the database, its cluster and that one's timeline. A backup brings along what stood
-- there when it was made, so where it no longer says the truth the database was restored. One row, that of the nil
-- ledger; no row: not looked at yet.
CREATE TABLE log_origin (
    ledger_id bigint NOT NULL,
    origin    text NOT NULL,
    CONSTRAINT log_origin_pkey PRIMARY KEY (ledger_id),
    CONSTRAINT log_origin_of_all_ledgers CHECK (ledger_id = 0)
);
