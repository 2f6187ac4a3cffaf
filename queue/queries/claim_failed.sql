-- Tasks that have failed before are delivered one at a time.
WITH mine AS MATERIALIZED (
    SELECT t.request_id, t.attempts, t.available_at
    FROM countersign.task t
    WHERE t.consumer = $1 AND t.state < 2 AND t.available_at <= now() AND t.attempts > 0
    ORDER BY t.available_at, t.request_id
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
SELECT mine.request_id, mine.attempts, r.body, r.hash, r.submitted_at, r.expires_at,
       (SELECT count(*) FROM countersign.result x WHERE x.request_id = mine.request_id) > 0
FROM mine LEFT JOIN LATERAL (
    SELECT q.body, q.hash, q.submitted_at, q.expires_at
    FROM countersign.request q WHERE q.id = mine.request_id LIMIT 1
) r ON true
ORDER BY mine.available_at, mine.request_id
