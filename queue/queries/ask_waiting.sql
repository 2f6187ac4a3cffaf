-- New tasks for requests that wait for people: for those consumers who have
-- none, and whose replies name none of the epochs. For a newcomer ($6), to whom
-- all that was said before names none, what was said since the newest policy
-- document was published counts as well; within 10 seconds of that it may still be
-- said under the document before. The tasks are made in the order of requests, so
-- that two instances wait for each other and never deadlock.
WITH asked AS (
    INSERT INTO countersign.task (consumer, request_id)
    SELECT w.name, w.request_id
    FROM (
        SELECT s.name, s.place, t.request_id
        FROM countersign.task t
        CROSS JOIN unnest($1::text[]) WITH ORDINALITY AS s (name, place)
        WHERE t.consumer = ANY($1::text[]) AND t.state = 1
          AND (SELECT count(*) FROM countersign.task o WHERE o.request_id = t.request_id AND o.consumer = s.name) = 0
          AND (SELECT count(*) FROM countersign.reply p
               WHERE p.request_id = t.request_id AND p.sender = s.name
                 AND (p.epochs && $2::bytea[] OR $6 AND p.created_at > (SELECT least(max(n.created_at), now()) + interval '10 seconds'
                                                                       FROM countersign.notice n WHERE n.topic = $5))) = 0
          AND (SELECT count(*) FROM countersign.result x WHERE x.request_id = t.request_id) = 0
          AND (SELECT r.expires_at > now() FROM countersign.request r WHERE r.id = t.request_id)
        LIMIT $3
    ) w
    ORDER BY w.request_id, w.place
    ON CONFLICT DO NOTHING
    RETURNING 1
)
SELECT count(*), CASE WHEN count(*) > 0 THEN pg_notify('countersign_task', $4) END FROM asked
