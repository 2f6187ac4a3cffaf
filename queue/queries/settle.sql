-- The end of a batch: tasks that are done ($2) go, others ($3) are kept with
-- a state ($4), a delay in seconds ($5; negative: for ever), the number of
-- replies seen ($6; 0: as before) and a note ($7); replies ($8 to $12) are written; one
-- notification ($13) tells of them.
WITH done AS (
    DELETE FROM countersign.task t
    WHERE t.consumer = $1 AND t.request_id = ANY($2::uuid[])
    RETURNING 1
), kept AS (
    UPDATE countersign.task t
    SET state = ($4::smallint[])[array_position($3::uuid[], t.request_id)],
        available_at = CASE WHEN ($5::double precision[])[array_position($3::uuid[], t.request_id)] < 0 THEN 'infinity'
            ELSE clock_timestamp() + ($5::double precision[])[array_position($3::uuid[], t.request_id)] * interval '1 second' END,
        seen_reply = coalesce(nullif(($6::bigint[])[array_position($3::uuid[], t.request_id)], 0), t.seen_reply),
        note = ($7::text[])[array_position($3::uuid[], t.request_id)]
    WHERE t.consumer = $1 AND t.request_id = ANY($3::uuid[])
    RETURNING 1
), said AS (
    INSERT INTO countersign.reply (request_id, sender, body, attachment, epochs, decisive)
    SELECT r.request_id, $1, r.body, r.attachment, r.epochs::bytea[], r.decisive
    FROM unnest($8::uuid[], $9::bytea[], $10::bytea[], $11::text[], $12::boolean[])
        AS r (request_id, body, attachment, epochs, decisive)
    RETURNING 1
)
SELECT (SELECT count(*) FROM done), (SELECT count(*) FROM kept), (SELECT count(*) FROM said),
       pg_notify('countersign_reply', $13)
