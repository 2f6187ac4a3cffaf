-- The newest replies of each sender and request, oldest first. What stands
-- beside them (shares, votes) is not for those who show requests.
SELECT request_id, sender, body, epochs, decisive, created_at
FROM (SELECT id, request_id, sender, body, epochs, decisive, created_at,
             row_number() OVER (PARTITION BY request_id, sender ORDER BY id DESC) AS age
      FROM countersign.reply WHERE request_id = ANY($1::uuid[])) AS replies
WHERE age <= $2
ORDER BY id
