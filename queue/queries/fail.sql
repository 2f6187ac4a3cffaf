-- Deliveries that failed: raised attempts, a delay, and death after the most.
-- Only where the attempts are those that were claimed ($6): a failure counts
-- once, and not against a delivery that came after it.
UPDATE countersign.task t
SET attempts = t.attempts + 1,
    state = CASE WHEN t.attempts + 1 >= $3 THEN 2 ELSE t.state END,
    available_at = CASE WHEN t.attempts + 1 >= $3 THEN 'infinity'
                        ELSE clock_timestamp() + $4 * interval '1 second' END,
    note = CASE WHEN t.attempts + 1 >= $3 THEN $5 ELSE t.note END,
    leased_until = '-infinity'
WHERE t.consumer = $1 AND t.request_id = ANY($2::uuid[]) AND t.state <> 2
  AND t.attempts = ($6::bigint[])[array_position($2::uuid[], t.request_id)]
