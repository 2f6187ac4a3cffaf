-- The live notices of a topic, oldest first: of each sender the newest ones, so
-- that none can crowd out another's, and none larger than any message.
SELECT topic, key, sender, body, nullif(expires_at, 'infinity'), created_at
FROM (SELECT *, row_number() OVER (PARTITION BY sender ORDER BY created_at DESC, key DESC) AS age
      FROM countersign.notice
      WHERE topic = $1 AND expires_at > now() AND octet_length(body) <= $3) AS newest
WHERE age <= $2
ORDER BY created_at, key
