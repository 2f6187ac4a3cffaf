-- Results, the first of each request wins, each with its audit entry; the tasks
-- that this role may delete go; one notification, which carries results ($4) only
-- where they are those that stand, else ids ($5).
WITH ended AS (
    INSERT INTO countersign.result (request_id, status, body)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[])
    ON CONFLICT DO NOTHING
    RETURNING request_id, body
), logged AS (
    INSERT INTO countersign.audit_entry (kind, request_id, body)
    SELECT 'result', e.request_id, e.body FROM ended e
), gone AS (
    DELETE FROM countersign.task WHERE request_id = ANY($1::uuid[])
)
SELECT (SELECT array_agg(request_id::text) FROM ended), 
       pg_notify('countersign_result', CASE WHEN (SELECT count(*) FROM ended) = cardinality($1::uuid[]) THEN $4 ELSE $5 END)
