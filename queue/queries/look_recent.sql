-- The same among the requests that had a reply since the given one.
SELECT t.request_id
FROM countersign.task t JOIN countersign.request r ON r.id = t.request_id
WHERE t.consumer = $1 AND t.state < 2 AND t.available_at <= now()
  AND t.request_id IN (SELECT n.request_id FROM countersign.reply n WHERE n.id > $5)
  AND (r.expires_at <= now() OR (
        SELECT count(*) > t.seen_reply
           AND (coalesce(bool_or(p.decisive AND p.epochs && $4::bytea[]), false)
                OR count(DISTINCT p.sender) FILTER (WHERE p.epochs && $4::bytea[]) = cardinality($3::text[]))
        FROM countersign.reply p
        WHERE p.request_id = t.request_id AND p.sender = ANY($3::text[])
    ))
LIMIT $2
