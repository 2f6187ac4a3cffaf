-- The same without replies, for those who may write none.
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
)
SELECT (SELECT count(*) FROM done) + (SELECT count(*) FROM kept), 0, NULL
