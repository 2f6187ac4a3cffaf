-- Verdicts on claimed tasks, the replies, and the one notification.
-- Dispositions: 1 done, 2 park, 3 retry, 4 dead, 5 await.
WITH verdict AS (
    SELECT * FROM unnest($2::uuid[], $3::smallint[], $4::double precision[], $5::bigint[], $6::text[])
        AS v (request_id, disposition, delay, seen, note)
), done AS (
    DELETE FROM countersign.task t USING verdict v
    WHERE t.consumer = $1 AND t.request_id = v.request_id AND v.disposition = 1
    RETURNING 1
), kept AS (
    UPDATE countersign.task t
    SET state = CASE v.disposition WHEN 2 THEN 1 WHEN 4 THEN 2 ELSE 0 END,
        available_at = CASE WHEN v.disposition = 4 OR v.disposition = 2 AND v.delay = 0 THEN 'infinity'
                            ELSE clock_timestamp() + v.delay * interval '1 second' END,
        seen_reply = greatest(t.seen_reply, v.seen),
        note = v.note
    FROM verdict v
    WHERE t.consumer = $1 AND t.request_id = v.request_id AND v.disposition <> 1
    RETURNING 1
), said AS (
    INSERT INTO countersign.reply (request_id, sender, body, attachment, epochs, decisive)
    SELECT r.request_id, $1, r.body, r.attachment, r.epochs::bytea[], r.decisive
    FROM unnest($7::uuid[], $8::bytea[], $9::bytea[], $10::text[], $11::boolean[])
        AS r (request_id, body, attachment, epochs, decisive)
    RETURNING 1
)
SELECT (SELECT count(*) FROM done) + (SELECT count(*) FROM kept),
       (SELECT count(*) FROM said),
       pg_notify('countersign_reply', $12)
