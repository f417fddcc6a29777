-- Created positions of accounts whose names have all of some pieces, in any order.
-- Materialized, so that no index of the ledger but the one of names is taken for as good; the ledger is in the pieces.
-- $1 ledger_id bigint, $2 row_count bigint, $3 grams bigint[]
WITH named AS MATERIALIZED (
    SELECT ledger_id, created_position
    FROM accounts
    WHERE name_grams @> $3::bigint[]
)
SELECT created_position
FROM named
WHERE ledger_id = $1::bigint
LIMIT $2::bigint
