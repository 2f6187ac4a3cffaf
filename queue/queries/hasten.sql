-- Ready tasks that are put off for longer than anybody may put them off: the
-- database's clock was set back, or somebody has written them.
UPDATE countersign.task
SET available_at = clock_timestamp()
WHERE consumer = $1 AND state = 0 AND available_at > now() + interval '2 minutes' AND available_at < 'infinity'
