-- New tasks for consumers that have none for the request.
WITH asked AS (
    INSERT INTO countersign.task (consumer, request_id)
    SELECT c.name, $1 FROM unnest($2::text[]) AS c (name)
    ON CONFLICT DO NOTHING
)
SELECT pg_notify('countersign_task', $3)
