-- Open requests for which nobody is at work and replies are missing.
SELECT t.request_id, m.missing
FROM countersign.task t
JOIN countersign.request r ON r.id = t.request_id
CROSS JOIN LATERAL (
    SELECT array_agg(s.name) AS missing
    FROM unnest($2::text[]) AS s (name)
    WHERE NOT EXISTS (SELECT FROM countersign.reply p
                      WHERE p.request_id = t.request_id AND p.sender = s.name AND p.epochs && $3::bytea[])
      AND NOT EXISTS (SELECT FROM countersign.task o WHERE o.request_id = t.request_id AND o.consumer = s.name)
) m
WHERE t.consumer = $1 AND t.state < 2 AND t.available_at <= now()
  AND r.expires_at > now() AND r.submitted_at <= now() - $4 * interval '1 second'
  AND m.missing IS NOT NULL
  AND NOT EXISTS (SELECT FROM countersign.task o
                  WHERE o.request_id = t.request_id AND o.consumer = ANY($2::text[]) AND o.state < 2)
  AND NOT EXISTS (SELECT FROM countersign.reply p
                  WHERE p.request_id = t.request_id AND p.created_at > now() - $4 * interval '1 second')
ORDER BY t.available_at
LIMIT $5
