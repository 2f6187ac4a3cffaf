-- The newest live notices of a topic, oldest first.
SELECT topic, key, sender, body, nullif(expires_at, 'infinity'), created_at
FROM (SELECT * FROM countersign.notice
      WHERE topic = $1 AND expires_at > now()
      ORDER BY created_at DESC, key DESC
      LIMIT $2) AS newest
ORDER BY created_at, key
