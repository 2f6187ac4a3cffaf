-- New tasks for requests that wait for people: for those consumers who have
-- none, and whose replies name none of the epochs. For a newcomer ($6), to whom
-- all that was said before names none, what was said since the newest policy
-- document was published counts as well; within 10 seconds of that it may still be
-- said under the document before. Who has replied since the document, within the
-- last 10 seconds and not later than now, is let be meanwhile: whoever still decides
-- under the one before is not asked without a pause. Who replied longest ago comes
-- first, each consumer in turn, so that nobody's turn is taken by those who give
-- answers of no use or none. The
-- tasks are made in the order of requests, so that two instances wait for each
-- other and never deadlock.
WITH asked AS (
    INSERT INTO countersign.task (consumer, request_id)
    SELECT w.name, w.request_id
    FROM (
        SELECT s.name, s.place, t.request_id
        FROM countersign.task t
        CROSS JOIN unnest($1::text[]) WITH ORDINALITY AS s (name, place)
        CROSS JOIN LATERAL (
            SELECT max(p.id) AS newest,
                   bool_or(p.epochs && $2::bytea[]
                           OR p.created_at BETWEEN now() - interval '10 seconds' AND now()
                              AND p.created_at > (SELECT least(max(n.created_at), now()) FROM countersign.notice n WHERE n.topic = $5)
                           OR $6 AND p.created_at > (SELECT least(max(n.created_at), now()) + interval '10 seconds'
                                                     FROM countersign.notice n WHERE n.topic = $5)) AS said
            FROM countersign.reply p WHERE p.request_id = t.request_id AND p.sender = s.name
        ) r
        WHERE t.consumer = ANY($1::text[]) AND t.state = 1
          AND (SELECT count(*) FROM countersign.task o WHERE o.request_id = t.request_id AND o.consumer = s.name) = 0
          AND r.said IS NOT TRUE
          AND (SELECT count(*) FROM countersign.result x WHERE x.request_id = t.request_id) = 0
          AND (SELECT q.expires_at > now() FROM countersign.request q WHERE q.id = t.request_id)
        ORDER BY row_number() OVER (PARTITION BY s.name ORDER BY r.newest NULLS FIRST)
        LIMIT $3
    ) w
    ORDER BY w.request_id, w.place
    ON CONFLICT DO NOTHING
    RETURNING 1
)
SELECT count(*), CASE WHEN count(*) > 0 THEN pg_notify('countersign_task', $4) END FROM asked
