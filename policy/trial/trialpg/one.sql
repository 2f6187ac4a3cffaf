-- One request, as recorded.sql gives it.
SELECT r.id, r.body, r.submitted_at, coalesce(e.status, ''), coalesce(p.sender, ''), coalesce(p.body, '')
  FROM countersign.request r
  LEFT JOIN countersign.result e ON e.request_id = r.id
  LEFT JOIN countersign.reply p ON p.request_id = r.id
 WHERE r.id = $1
 ORDER BY p.id
