-- The ids of the accounts that were directly in a category at a position, a page after an id, and whether each was in
-- one of some other categories too.
-- A page has those as well, so that one costs what another does. The LIMIT 1, which cuts nothing off, keeps the planner
-- from hashing all that was ever in the others, and array_position from probing for each of them: an account is in few.
-- $1 ledger_id uuid, $2 category_id uuid, $3 after_id uuid, $4 position bigint, $5 limit bigint, $6 other_ids text[]
SELECT m.account_id, other.account_id IS NOT NULL AS is_in_other
FROM category_accounts m
LEFT JOIN LATERAL (
    SELECT account_id
    FROM category_accounts
    WHERE ledger_id = $1::uuid AND account_id = m.account_id
        AND array_position($6::text[]::uuid[], category_id) IS NOT NULL
        AND from_position <= $4::bigint AND (until_position IS NULL OR until_position > $4::bigint)
    LIMIT 1
) AS other ON true
WHERE m.ledger_id = $1::uuid AND m.category_id = $2::uuid AND m.account_id > $3::uuid AND m.from_position <= $4::bigint
    AND (m.until_position IS NULL OR m.until_position > $4::bigint)
ORDER BY m.account_id
LIMIT $5::bigint
