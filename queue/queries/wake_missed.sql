-- The same as wake_ended.sql of all requests, where notifications were not heard.
WITH woken AS (
    UPDATE countersign.task
    SET state = 0, available_at = clock_timestamp(), version = version + 1
    WHERE ctid = ANY (ARRAY(
        SELECT t.ctid FROM countersign.task t
        WHERE t.consumer = ANY($1::text[]) AND t.available_at > now() AND t.state < 2 AND t.version = 0
          AND (SELECT count(*) FROM countersign.result x WHERE x.request_id = t.request_id) > 0
        LIMIT $2
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING consumer
)
SELECT DISTINCT consumer FROM woken
