-- Balance monitors: what they demand and the state they are in. Their edges are in the log.

CREATE TABLE monitors (
    ledger_id        bigint      NOT NULL,
    monitor_id       uuid        NOT NULL,
    -- What it is on: one of the two.
    account_id       uuid,
    category_id      uuid,
    created_position bigint      NOT NULL,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    version          bigint      NOT NULL,
    -- 1 posted, 2 pending, 3 available, 4 lock_version.
    field            smallint    NOT NULL,
    -- 1 <, 2 ≤, 3 =, 5 ≥, 6 >.
    operator         smallint    NOT NULL,
    value            numeric     NOT NULL,
    resolve_value    numeric,
    description      text        NOT NULL,
    metadata         jsonb       NOT NULL,
    triggered        boolean     NOT NULL,
    -- Of the command that brought it into this state.
    since_position   bigint      NOT NULL,
    since            timestamptz NOT NULL,
    -- Null while it lives. A deleted one stays, as the log speaks of it.
    deleted_position bigint,
    deleted_at       timestamptz,
    CONSTRAINT monitors_pkey PRIMARY KEY (ledger_id, monitor_id),
    CONSTRAINT monitor_on_one_subject CHECK ((account_id IS NULL) <> (category_id IS NULL)),
    CONSTRAINT monitor_on_an_account FOREIGN KEY (ledger_id, account_id) REFERENCES accounts (ledger_id, account_id),
    CONSTRAINT monitor_on_a_category FOREIGN KEY (ledger_id, category_id)
        REFERENCES categories (ledger_id, category_id),
    CONSTRAINT monitor_version_not_negative CHECK (version >= 0),
    CONSTRAINT monitor_field_known CHECK (field BETWEEN 1 AND 4),
    CONSTRAINT category_has_no_lock_version CHECK (category_id IS NULL OR field <> 4),
    CONSTRAINT monitor_operator_known CHECK (operator IN (1, 2, 3, 5, 6)),
    CONSTRAINT monitor_value_in_range CHECK (abs(value) < 1e36 AND scale(value) = 0),
    CONSTRAINT monitor_resolve_value_in_range CHECK (abs(resolve_value) < 1e36 AND scale(resolve_value) = 0),
    CONSTRAINT monitor_resolves_on_the_far_side CHECK (
        resolve_value IS NULL
        OR (operator IN (1, 2) AND resolve_value >= value)
        OR (operator IN (5, 6) AND resolve_value <= value)
    ),
    CONSTRAINT monitor_since_its_creation CHECK (since_position >= created_position),
    CONSTRAINT monitor_deleted_at_a_position CHECK ((deleted_at IS NULL) = (deleted_position IS NULL))
);

-- Created order is position order; ListBalanceMonitors pages by it.
CREATE UNIQUE INDEX monitor_created_position_unique ON monitors (ledger_id, created_position);
-- What the write path loads with an account, and with a category.
CREATE INDEX monitors_on_account ON monitors (ledger_id, account_id, created_position) WHERE deleted_at IS NULL;
CREATE INDEX monitors_on_category ON monitors (ledger_id, category_id, created_position)
    WHERE category_id IS NOT NULL AND deleted_at IS NULL;
-- What an operator asks for.
CREATE INDEX monitors_by_state ON monitors (ledger_id, triggered, created_position) WHERE deleted_at IS NULL;

-- Every condition a monitor ever had, from the position of the command that gave it on. Rows are only ever inserted.
CREATE TABLE monitor_conditions (
    ledger_id     bigint      NOT NULL,
    monitor_id    uuid        NOT NULL,
    position      bigint      NOT NULL,
    changed_at    timestamptz NOT NULL,
    field         smallint    NOT NULL,
    operator      smallint    NOT NULL,
    value         numeric     NOT NULL,
    resolve_value numeric,
    CONSTRAINT monitor_conditions_pkey PRIMARY KEY (ledger_id, monitor_id, position),
    CONSTRAINT condition_of_a_monitor FOREIGN KEY (ledger_id, monitor_id) REFERENCES monitors (ledger_id, monitor_id)
);
