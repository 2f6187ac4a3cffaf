-- The newest replies of each sender and request, oldest first.
SELECT request_id, sender, body, attachment, epochs, decisive, created_at
FROM (SELECT *, row_number() OVER (PARTITION BY request_id, sender ORDER BY id DESC) AS age
      FROM countersign.reply WHERE request_id = ANY($1::uuid[])) AS replies
WHERE age <= $2
ORDER BY id
