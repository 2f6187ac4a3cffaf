-- Every open request whose replies are there, that was cancelled, or whose time
-- is over.
SELECT t.request_id
FROM countersign.task t
WHERE t.consumer = $1 AND t.state < 2 AND t.available_at <= now() AND t.leased_until NOT BETWEEN now() AND now() + interval '2 minutes'
  AND (t.cancelled
       OR (SELECT r.expires_at <= now() FROM countersign.request r WHERE r.id = t.request_id)
       OR (
        SELECT count(*) <> t.seen_reply
           AND (coalesce(bool_or(p.decisive AND p.epochs && $4::bytea[]), false)
                OR count(DISTINCT p.sender) FILTER (WHERE p.epochs && $4::bytea[]) = cardinality($3::text[]))
        FROM countersign.reply p
        WHERE p.request_id = t.request_id AND p.sender = ANY($3::text[])
    ))
ORDER BY t.available_at
LIMIT $2
