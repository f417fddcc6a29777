-- The categories that are there at a position, in order, each with its counters then, for whoever verifies them: in
-- words, as they may be no numbers.
-- $1 ledger_id bigint, $2 after_category_id uuid, $3 position bigint, $4 row_count bigint
SELECT
    c.category_id,
    coalesce(concat_ws(', ', v.posted_debits, v.posted_credits, v.pending_debits, v.pending_credits), '') AS counters
FROM categories c
LEFT JOIN LATERAL (
    SELECT posted_debits, posted_credits, pending_debits, pending_credits
    FROM category_versions
    WHERE ledger_id = $1::bigint AND category_id = c.category_id AND position <= $3::bigint
    ORDER BY position DESC
    LIMIT 1
) AS v ON true
WHERE c.ledger_id = $1::bigint AND c.category_id > $2::uuid AND c.created_position <= $3::bigint
    AND (c.deleted_position IS NULL OR c.deleted_position > $3::bigint)
ORDER BY c.category_id
LIMIT $4::bigint
