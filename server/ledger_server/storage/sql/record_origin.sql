-- Remembers where this database is.
-- $1 ledger_id bigint, the nil ledger's, $2 origin text
INSERT INTO log_origin (ledger_id, origin)
VALUES ($1::bigint, $2::text)
ON CONFLICT (ledger_id) DO UPDATE SET origin = excluded.origin
