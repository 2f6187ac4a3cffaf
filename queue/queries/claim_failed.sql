-- Tasks that have failed before are leased one at a time ($2).
WITH mine AS (
    UPDATE countersign.task
    SET leased_until = clock_timestamp() + $3 * interval '1 second'
    WHERE ctid = ANY (ARRAY(
        SELECT t.ctid FROM countersign.task t
        WHERE t.consumer = $1 AND t.state < 2 AND t.available_at <= now() AND t.leased_until NOT BETWEEN now() AND now() + interval '2 minutes' AND t.attempts > 0
        ORDER BY t.available_at, t.request_id
        LIMIT $2
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING request_id, attempts, version, available_at, (SELECT set_config('synchronous_commit', 'off', true)) AS quick
)
SELECT mine.request_id, mine.attempts, mine.version, r.body, r.hash, r.submitted_at, r.expires_at,
       (SELECT count(*) FROM countersign.result x WHERE x.request_id = mine.request_id) > 0
FROM mine LEFT JOIN LATERAL (
    SELECT q.body, q.hash, q.submitted_at, q.expires_at
    FROM countersign.request q WHERE q.id = mine.request_id LIMIT 1
) r ON mine.quick IS NOT NULL
ORDER BY mine.available_at, mine.request_id
