-- One live notice, if it is no larger than what its reader takes.
SELECT topic, key, sender, body, nullif(expires_at, 'infinity'), created_at
FROM countersign.notice
WHERE topic = $1 AND key = $2 AND expires_at > now() AND octet_length(body) <= $3
