-- The gatherer's open task is marked, and wanted: who is about to write an intent
-- for it sees by the version that it is another now. Once is enough: who cancels
-- again and again must not keep others' batches from being written.
WITH marked AS (
    UPDATE countersign.task
    SET cancelled = true, version = version + 1
    WHERE consumer = $1 AND request_id = $2 AND state <> 2 AND NOT cancelled
    RETURNING 1
)
SELECT (SELECT count(*) FROM marked) > 0, pg_notify('countersign_reply', $3)
