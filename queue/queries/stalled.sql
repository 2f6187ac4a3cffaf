-- Open requests for which nobody is at work and replies are missing. One
-- whose decisive reply names none of the epochs need not wait for those who
-- are still at work: that reply is to be repeated.
SELECT t.request_id, m.missing
FROM countersign.task t
CROSS JOIN LATERAL (
    SELECT array_agg(s.name) AS missing
    FROM unnest($2::text[]) AS s (name)
    WHERE (SELECT count(*) FROM countersign.reply p
           WHERE p.request_id = t.request_id AND p.sender = s.name AND p.epochs && $3::bytea[]) = 0
      AND (SELECT count(*) FROM countersign.task o WHERE o.request_id = t.request_id AND o.consumer = s.name) = 0
      AND ((SELECT count(*) FROM countersign.task o
            WHERE o.request_id = t.request_id AND o.consumer = ANY($2::text[]) AND o.state <> 2) = 0
           OR (SELECT count(*) FROM countersign.reply p
               WHERE p.request_id = t.request_id AND p.sender = s.name AND p.decisive) > 0)
) m
WHERE t.consumer = $1 AND t.state < 2 AND t.available_at <= now() AND t.leased_until NOT BETWEEN now() AND now() + interval '2 minutes'
  AND (SELECT r.expires_at > now() AND r.submitted_at NOT BETWEEN now() - $4 * interval '1 second' AND now()
       FROM countersign.request r WHERE r.id = t.request_id)
  AND m.missing IS NOT NULL
  AND ((SELECT count(*) FROM countersign.task o
        WHERE o.request_id = t.request_id AND o.consumer = ANY($2::text[]) AND o.state <> 2) = 0
       OR (SELECT count(*) FROM countersign.reply p WHERE p.request_id = t.request_id AND p.decisive) > 0)
  AND (SELECT count(*) FROM countersign.reply p
       WHERE p.request_id = t.request_id AND p.created_at BETWEEN now() - $4 * interval '1 second' AND now()) = 0
ORDER BY t.available_at
LIMIT $5
