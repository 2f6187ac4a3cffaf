-- The end of a batch all of whose tasks are done ($2), with replies ($3 to $7)
-- and one notification ($8) that tells of them. Where a task is not there it
-- divides by zero, and nothing is written.
WITH done AS (
    DELETE FROM countersign.task t
    WHERE t.consumer = $1 AND t.request_id = ANY($2::uuid[])
    RETURNING 1
), said AS (
    INSERT INTO countersign.reply (request_id, sender, body, attachment, epochs, decisive)
    SELECT r.request_id, $1, r.body, r.attachment, r.epochs::bytea[], r.decisive
    FROM unnest($3::uuid[], $4::bytea[], $5::bytea[], $6::text[], $7::boolean[])
        AS r (request_id, body, attachment, epochs, decisive)
)
SELECT 1 / (count(*) = cardinality($2::uuid[]) /* grounds */)::integer, pg_notify('countersign_reply', $8) FROM done
