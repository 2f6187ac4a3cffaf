-- Tasks that are done go; it fails like settle.sql.
WITH done AS (
    DELETE FROM countersign.task t
    WHERE t.consumer = $1 AND t.request_id = ANY($2::uuid[])
    RETURNING 1
)
SELECT 1 / (count(*) = cardinality($2::uuid[]) /* grounds */)::integer FROM done
