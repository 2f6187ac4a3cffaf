-- Deliveries that failed: raised attempts, a delay, and death after the most.
UPDATE countersign.task
SET attempts = attempts + 1,
    state = CASE WHEN attempts + 1 >= $3 THEN 2 ELSE state END,
    available_at = CASE WHEN attempts + 1 >= $3 THEN 'infinity'
                        ELSE clock_timestamp() + $4 * interval '1 second' END,
    note = CASE WHEN attempts + 1 >= $3 THEN $5 ELSE note END,
    leased_until = '-infinity'
WHERE consumer = $1 AND request_id = ANY($2::uuid[]) AND state <> 2
