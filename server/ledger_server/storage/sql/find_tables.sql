-- The schema that a role makes tables in, and which tables it means by their bare names (null: none), in order.
-- $1 names text[]
SELECT
    current_schema() AS schema,
    array(
        SELECT to_regclass(name)::oid::bigint
        FROM unnest($1::text[]) WITH ORDINALITY AS given (name, place)
        ORDER BY place
    ) AS tables
