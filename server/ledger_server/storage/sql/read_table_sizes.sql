-- How large our own tables are, and how large the planner thinks they are: -1 where it has never looked.
SELECT
    relname AS table_name, reltuples::bigint AS known_rows,
    (pg_relation_size(oid) / current_setting('block_size')::bigint)::bigint AS pages, relpages::bigint AS known_pages
FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND pg_has_role(relowner, 'USAGE')
