-- Tasks that are done go; it fails like settle.sql.
WITH done AS (
    DELETE FROM countersign.task t
    WHERE t.consumer = $1 AND t.request_id = ANY($2::uuid[])
    RETURNING 1
)
SELECT CASE WHEN d.n = cardinality($2::uuid[]) THEN 0 ELSE ('only ' || d.n || ' tasks are done')::integer END
FROM (SELECT count(*) AS n FROM done) d
