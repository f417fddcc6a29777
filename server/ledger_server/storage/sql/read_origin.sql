-- Where this database is, and where it was when somebody looked last (null: never): cluster, timeline, database.
-- A restore to a point in time and a promoted standby begin a new timeline; a dump is read into another database.
-- $1 ledger_id bigint, the nil ledger's
SELECT
    (SELECT system_identifier FROM pg_control_system())::text || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8)
        || '/' || (SELECT oid FROM pg_database WHERE datname = current_database())::text AS here,
    (SELECT origin FROM log_origin WHERE ledger_id = $1::bigint) AS recorded
