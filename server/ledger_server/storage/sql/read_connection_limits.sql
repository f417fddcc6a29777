-- How many connections there may be: in this PostgreSQL, those for superusers and other reserved ones not counted; to
-- this database; of the role that connected. Null: as many as there are.
SELECT
    session_user::text AS role,
    current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
        - coalesce(current_setting('reserved_connections', true)::int, 0) AS of_postgres,
    (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database() AND NOT rolsuper)
        AS of_database,
    CASE WHEN NOT rolsuper THEN nullif(rolconnlimit, -1) END AS of_role
FROM pg_roles
WHERE rolname = session_user
