-- Tasks about the end of requests ($2) that have ended are made ready, each once:
-- of several instances that hear of an end one wakes its tasks, and one that was
-- delivered and put off stays so. What somebody is claiming is let be.
WITH woken AS (
    UPDATE countersign.task
    SET state = 0, available_at = clock_timestamp(), version = version + 1
    WHERE ctid = ANY (ARRAY(
        SELECT t.ctid FROM countersign.task t
        WHERE t.request_id = ANY($2::uuid[]) AND t.consumer = ANY($1::text[]) AND t.state <> 2 AND t.version = 0
          AND (SELECT count(*) FROM countersign.result x WHERE x.request_id = t.request_id) > 0
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING consumer
)
SELECT DISTINCT consumer FROM woken
