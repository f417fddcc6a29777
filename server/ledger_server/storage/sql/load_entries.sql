-- The entries of some entry sets, each with its account after the command that wrote it.
-- A version's entries are one range of ids, which ends where the last twelve bits do. The planner takes
-- such a range for a ninth of the table and would read the whole ledger instead; the LIMITs, which cut nothing off, say
-- how few rows there are: at most 1,000 in a set, one account and one version to an entry.
-- $1 ledger_id bigint, $2 first_entry_ids bigint[], $3 as_edited boolean: also with metadata as it is now, if it was
-- changed
SELECT
    s.first_entry_id, e.entry_id, e.transaction_version, e.status, e.direction, e.amount,
    e.metadata AS entry_metadata, edited.metadata AS edited_metadata,
    e.reverses_entry_id, e.reverses_entry_time, e.account_lock_version AS lock_version,
    v.posted_debits, v.posted_credits, v.pending_debits, v.pending_credits, v.position AS balance_position,
    a.account_id, a.ledger_id, a.name, a.description, a.normal_balance, a.currency, a.currency_exponent, a.external_id,
    a.metadata, a.created_position, a.created_at, a.updated_at, a.status AS account_status, a.limits, a.deleted_at
FROM unnest($2::bigint[]) AS s (first_entry_id)
CROSS JOIN LATERAL (
    SELECT
        entry_id, account_id, account_lock_version, transaction_version, status, direction, amount, metadata,
        reverses_entry_id, reverses_entry_time
    FROM entries
    WHERE ledger_id = $1::bigint
        AND entry_id BETWEEN s.first_entry_id AND s.first_entry_id + 4095
    ORDER BY entry_id
    LIMIT 1000
) AS e
CROSS JOIN LATERAL (
    SELECT
        account_id, ledger_id, name, description, normal_balance, currency, currency_exponent, external_id, metadata,
        created_position, created_at, updated_at, status, limits, deleted_at
    FROM accounts
    WHERE ledger_id = $1::bigint AND account_id = e.account_id
    LIMIT 1
) AS a
CROSS JOIN LATERAL (
    SELECT posted_debits, posted_credits, pending_debits, pending_credits, position
    FROM account_versions
    WHERE ledger_id = $1::bigint AND account_id = e.account_id AND lock_version = e.account_lock_version
    LIMIT 1
) AS v
LEFT JOIN LATERAL (
    SELECT metadata
    FROM entry_metadata
    WHERE $3::boolean AND ledger_id = $1::bigint AND entry_id = e.entry_id
    LIMIT 1
) AS edited ON true
ORDER BY s.first_entry_id, e.entry_id
