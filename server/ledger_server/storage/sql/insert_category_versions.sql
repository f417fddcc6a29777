-- Counters of categories after the commands of a batch. Columns come as array literals, as in write_batch.sql.
-- $1 ledger_id uuid, then text, one array literal a column: $2 category_ids, $3 positions, $4 posted_debits,
-- $5 posted_credits, $6 pending_debits, $7 pending_credits
INSERT INTO category_versions (
    ledger_id, category_id, position, posted_debits, posted_credits, pending_debits, pending_credits
)
SELECT
    $1::uuid, r.category_id, r.position, r.posted_debits, r.posted_credits, r.pending_debits, r.pending_credits
FROM unnest(
    $2::text::uuid[], $3::text::bigint[], $4::text::numeric[], $5::text::numeric[], $6::text::numeric[],
    $7::text::numeric[]
) AS r (category_id, position, posted_debits, posted_credits, pending_debits, pending_credits)
