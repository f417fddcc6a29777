-- Where a bite of so many categories ends: the created position of its last one, no row if there are fewer.
-- Answered from the index alone.
-- $1 ledger_id uuid, $2 after_position bigint, $3 row_count bigint
SELECT created_position
FROM categories
WHERE ledger_id = $1::uuid AND created_position > $2::bigint
ORDER BY created_position
OFFSET $3::bigint - 1
LIMIT 1
