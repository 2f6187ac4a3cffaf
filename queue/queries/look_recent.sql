-- The same among the requests that had a reply since the given one. The inner
-- limit is far above what comes between two looks; it keeps a generic plan from
-- walking the index by request instead, every reply that there ever was. What lies
-- beyond is found by the next full look.
SELECT t.request_id
FROM (SELECT DISTINCT r.request_id
      FROM (SELECT p.request_id FROM countersign.reply p WHERE p.id > $5 ORDER BY p.id LIMIT 10000) r) n
CROSS JOIN LATERAL (
    SELECT o.request_id, o.seen_reply, o.state, o.available_at, o.leased_until
    FROM countersign.task o WHERE o.request_id = n.request_id AND o.consumer = $1 LIMIT 1
) t
WHERE t.state < 2 AND t.available_at <= now() AND t.leased_until NOT BETWEEN now() AND now() + interval '2 minutes'
  AND (
        SELECT count(*) <> t.seen_reply
           AND (coalesce(bool_or(p.decisive AND p.epochs && $4::bytea[]), false)
                OR count(DISTINCT p.sender) FILTER (WHERE p.epochs && $4::bytea[]) = cardinality($3::text[]))
        FROM countersign.reply p
        WHERE p.request_id = t.request_id AND p.sender = ANY($3::text[])
    )
LIMIT $2
