-- Of the given requests those whose replies are there, that were cancelled, or
-- whose time is over,
-- each with its replies: of each sender the newest first of all, then the second
-- newest of each, and so on, up to a limit, and none larger than any message.
-- Seen counts replies, because their ids are not committed in order. A request's
-- own columns stand in its first row only.
WITH mine AS (
    UPDATE countersign.task t
    SET leased_until = clock_timestamp() + $7 * interval '1 second'
    WHERE t.consumer = $1 AND t.request_id = ANY($2::uuid[]) AND t.state <> 2 AND t.available_at <= now() AND t.leased_until NOT BETWEEN now() AND now() + interval '2 minutes'
      AND (t.cancelled
           OR (SELECT r.expires_at <= now() FROM countersign.request r WHERE r.id = t.request_id)
           OR (
        SELECT count(*) <> t.seen_reply
           AND (coalesce(bool_or(p.decisive AND p.epochs && $4::bytea[]), false)
                OR count(DISTINCT p.sender) FILTER (WHERE p.epochs && $4::bytea[]) = cardinality($3::text[]))
        FROM countersign.reply p
        WHERE p.request_id = t.request_id AND p.sender = ANY($3::text[])
    ))
    RETURNING t.request_id, t.attempts, t.version, t.cancelled, (SELECT set_config('synchronous_commit', 'off', true)) AS quick
)
SELECT m.request_id, m.attempts, m.version, r.overdue,
       CASE WHEN c.place IS NULL OR c.place = 1 THEN r.body END, r.hash, r.submitted_at, r.expires_at,
       r.ended, r.seen, r.decisive, r.cancelled,
       c.id, c.sender, c.body, c.attachment, c.epochs, c.decisive, c.created_at
FROM mine m
CROSS JOIN LATERAL (
    SELECT q.body, q.hash, q.submitted_at, q.expires_at, q.expires_at <= now() AS overdue,
           (SELECT count(*) FROM countersign.result x WHERE x.request_id = m.request_id) > 0 AS ended,
           (SELECT count(*) FROM countersign.reply s WHERE s.request_id = m.request_id AND s.sender = ANY($3::text[])) AS seen,
           (SELECT count(*) FROM countersign.reply s WHERE s.request_id = m.request_id AND s.decisive AND s.epochs && $4::bytea[]) AS decisive,
           m.cancelled AND (SELECT count(*) FROM countersign.intent i WHERE i.request_id = m.request_id) = 0 AS cancelled
    FROM countersign.request q WHERE q.id = m.request_id AND m.quick IS NOT NULL LIMIT 1
) r
LEFT JOIN LATERAL (
    SELECT p.*, row_number() OVER (ORDER BY p.id) AS place
    FROM (
        SELECT a.id, a.sender, a.body, a.attachment, a.epochs, a.decisive, a.created_at
        FROM (SELECT q.*, row_number() OVER (PARTITION BY q.sender ORDER BY q.id DESC) AS age
              FROM countersign.reply q
              WHERE q.request_id = m.request_id AND q.sender = ANY($3::text[]) AND q.epochs && $4::bytea[]
                AND octet_length(q.body) <= $6 AND octet_length(q.attachment) <= $6) a
        ORDER BY a.age, a.id DESC
        LIMIT $5
    ) p
) c ON true
ORDER BY m.request_id, c.place
