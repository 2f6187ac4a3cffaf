SELECT r.id, r.body, r.hash, r.fingerprint, r.owner, r.kind, r.wallet, r.expires_at, r.submitted_at,
       x.status, x.body, x.created_at
FROM countersign.request r
LEFT JOIN LATERAL (
    SELECT s.status, s.body, s.created_at FROM countersign.result s WHERE s.request_id = r.id LIMIT 1
) x ON true
WHERE r.id = ANY($1::uuid[])
