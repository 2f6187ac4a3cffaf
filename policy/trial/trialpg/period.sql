-- The ids of a period's requests in the order of their time.
SELECT id FROM countersign.request
 WHERE submitted_at >= $1 AND submitted_at < $2
 ORDER BY submitted_at, id
