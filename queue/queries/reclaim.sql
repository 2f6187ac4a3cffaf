-- Requests that have passed their expiry in the last $2 seconds, have no result,
-- and whose task somebody took away, put aside, or put off: it is made ready.
INSERT INTO countersign.task AS t (consumer, request_id)
SELECT $1, r.id
FROM countersign.request r
WHERE r.expires_at > now() - $2 * interval '1 second' AND r.expires_at <= now()
  AND (SELECT count(*) FROM countersign.result x WHERE x.request_id = r.id) = 0
ON CONFLICT (request_id, consumer) DO UPDATE SET state = 0, available_at = clock_timestamp()
WHERE t.state = 2 OR t.available_at > now() + interval '1 minute'
