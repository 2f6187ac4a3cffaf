-- A task is made ready whatever its open state is; who is working on it sees by
-- the version that it is not to be parked.
WITH unparked AS (
    UPDATE countersign.task
    SET state = 0, available_at = clock_timestamp(), version = version + 1
    WHERE consumer = $1 AND request_id = $2 AND state <> 2
)
SELECT pg_notify('countersign_task', $1)
