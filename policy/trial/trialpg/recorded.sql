-- Requests in the order of their time, with what became of them: a row for each
-- decision of a role, the oldest first.
SELECT r.id, r.body, r.submitted_at, coalesce(e.status, ''), coalesce(p.sender, ''), coalesce(p.body, '')
  FROM countersign.request r
  LEFT JOIN countersign.result e ON e.request_id = r.id
  LEFT JOIN countersign.reply p ON p.request_id = r.id
 WHERE r.id = ANY($1::uuid[])
 ORDER BY r.submitted_at, r.id, p.id
