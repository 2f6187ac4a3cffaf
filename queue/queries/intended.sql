-- A statement of its own, after the mark: whoever wrote an intent held the task
-- until it was committed, so that what the mark came too late for is seen here.
SELECT count(*) > 0 FROM countersign.intent WHERE request_id = $1
