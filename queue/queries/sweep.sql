-- Tasks of requests that have ended without their consumer.
DELETE FROM countersign.task t USING countersign.result x
WHERE t.consumer = $1 AND t.state < 2 AND x.request_id = t.request_id
