-- A task is made ready whatever its open state is in this statement's
-- snapshot: one that is just being parked is waited for.
WITH unparked AS (
    UPDATE countersign.task
    SET state = 0, available_at = clock_timestamp()
    WHERE consumer = $1 AND request_id = $2 AND state <> 2
)
SELECT pg_notify('countersign_task', $1)
