-- The names of the tables in the schema of this role, those of views included and those of extensions not.
SELECT relname::text AS name
FROM pg_class
WHERE relnamespace = current_schema()::regnamespace
    AND relkind IN ('r', 'p', 'f', 'v', 'm')
    AND NOT EXISTS (
        SELECT 1
        FROM pg_depend
        WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e'
    )
ORDER BY name
