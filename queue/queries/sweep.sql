-- Tasks of requests that have ended without their consumer.
DELETE FROM countersign.task t
WHERE t.consumer = $1 AND t.state < 2
  AND (SELECT count(*) FROM countersign.result x WHERE x.request_id = t.request_id) > 0
