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
       EXISTS (SELECT FROM countersign.result x WHERE x.request_id = mine.request_id)
FROM mine LEFT JOIN countersign.request r ON r.id = mine.request_id
ORDER BY mine.available_at, mine.request_id
