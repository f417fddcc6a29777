-- Remembers where this database is.
-- $1 ledger_id uuid, the nil ledger's, $2 origin text
INSERT INTO log_origin (ledger_id, origin)
VALUES ($1::uuid, $2::text)
ON CONFLICT (ledger_id) DO UPDATE SET origin = excluded.origin
