-- Tasks that are kept ready with one delay in seconds ($3) and no note: what a
-- gatherer does with nearly all of its tasks; it fails like settle.sql.
WITH kept AS (
    UPDATE countersign.task t
    SET state = 0, available_at = clock_timestamp() + $3 * interval '1 second', note = ''
    WHERE t.consumer = $1 AND t.request_id = ANY($2::uuid[])
    RETURNING 1
)
SELECT CASE WHEN k.n = cardinality($2::uuid[]) THEN 0 ELSE ('only ' || k.n || ' tasks are kept')::integer END
FROM (SELECT count(*) AS n FROM kept) k
