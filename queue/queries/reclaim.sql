-- Requests that have passed their expiry in the last $2 seconds, have no result,
-- and whose task somebody took away, put aside, put off, or leased for longer
-- than anybody may: it is made ready.
INSERT INTO countersign.task AS t (consumer, request_id)
SELECT $1, r.id
FROM countersign.request r
WHERE r.expires_at > now() - $2 * interval '1 second' AND r.expires_at <= now()
  AND (SELECT count(*) FROM countersign.result x WHERE x.request_id = r.id) = 0
ON CONFLICT (request_id, consumer) DO UPDATE SET state = 0, available_at = clock_timestamp(), leased_until = '-infinity'
WHERE t.state = 2 OR greatest(t.available_at, t.leased_until) > now() + interval '1 minute'
