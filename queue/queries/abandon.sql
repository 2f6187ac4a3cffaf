-- Open tasks of consumers whose name begins with $1, but for those of $2, are put
-- aside for good with a note ($3), some at a time ($4); not those that are worked
-- on. The names of all that have open tasks are found one after the other.
WITH RECURSIVE consumers AS (
    SELECT (SELECT t.consumer FROM countersign.task t WHERE t.consumer > '' AND t.state < 2 ORDER BY t.consumer LIMIT 1) AS name
    UNION ALL
    SELECT (SELECT t.consumer FROM countersign.task t WHERE t.consumer > c.name AND t.state < 2 ORDER BY t.consumer LIMIT 1)
    FROM consumers c WHERE c.name IS NOT NULL
)
UPDATE countersign.task
SET state = 2, available_at = 'infinity', note = $3
WHERE ctid = ANY (ARRAY(
    SELECT t.ctid FROM countersign.task t
    WHERE t.consumer = ANY (ARRAY(SELECT c.name FROM consumers c WHERE starts_with(c.name, $1) AND c.name <> ALL($2::text[])))
      AND t.state < 2 AND t.leased_until NOT BETWEEN now() AND now() + interval '2 minutes'
    LIMIT $4
    FOR UPDATE SKIP LOCKED
))
