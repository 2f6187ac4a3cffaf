-- One task by its request, if it is still open and free, is leased.
WITH mine AS (
    UPDATE countersign.task
    SET leased_until = clock_timestamp() + $3 * interval '1 second'
    WHERE consumer = $1 AND request_id = $2 AND state <> 2 AND available_at <= now() AND leased_until NOT BETWEEN now() AND now() + interval '2 minutes'
    RETURNING request_id, attempts, version, (SELECT set_config('synchronous_commit', 'off', true)) AS quick
)
SELECT mine.request_id, mine.attempts, mine.version, r.body, r.hash, r.submitted_at, r.expires_at,
       (SELECT count(*) FROM countersign.result x WHERE x.request_id = mine.request_id) > 0
FROM mine LEFT JOIN LATERAL (
    SELECT q.body, q.hash, q.submitted_at, q.expires_at
    FROM countersign.request q WHERE q.id = mine.request_id LIMIT 1
) r ON mine.quick IS NOT NULL
