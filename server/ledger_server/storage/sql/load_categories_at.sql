-- Categories with their counters as they stood at a position, zero before they were there, by id; not those deleted by
-- then. What is not money is as it stands now.
-- One row each: the newest not after the position, by the primary key.
-- $1 ledger_id bigint, $2 category_ids text[], $3 position bigint
SELECT
    c.category_id, c.ledger_id, c.name, c.description, c.normal_balance, c.currency, c.currency_exponent, c.external_id,
    c.metadata, c.created_position, c.created_at, c.updated_at, c.deleted_at,
    coalesce(v.posted_debits, 0) AS posted_debits, coalesce(v.posted_credits, 0) AS posted_credits,
    coalesce(v.pending_debits, 0) AS pending_debits, coalesce(v.pending_credits, 0) AS pending_credits,
    coalesce(v.position, 0) AS balance_position
FROM categories c
LEFT JOIN LATERAL (
    SELECT posted_debits, posted_credits, pending_debits, pending_credits, position
    FROM category_versions
    WHERE ledger_id = c.ledger_id AND category_id = c.category_id AND position <= $3::bigint
    ORDER BY position DESC
    LIMIT 1
) AS v ON true
WHERE c.ledger_id = $1::bigint AND c.category_id = ANY ($2::text[]::uuid[])
    AND (c.deleted_position IS NULL OR c.deleted_position > $3::bigint)
ORDER BY c.category_id
