-- Tasks of requests that have ended without their consumer; not those that are
-- worked on, since a batch is settled as a whole.
DELETE FROM countersign.task t
WHERE t.consumer = $1 AND t.state < 2 AND t.leased_until NOT BETWEEN now() AND now() + interval '2 minutes'
  AND (SELECT count(*) FROM countersign.result x WHERE x.request_id = t.request_id) > 0
