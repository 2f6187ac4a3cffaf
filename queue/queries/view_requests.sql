SELECT r.id, r.body, r.hash, r.fingerprint, r.owner, r.kind, r.wallet, r.expires_at, r.submitted_at,
       x.status, x.body, x.created_at
FROM countersign.request r LEFT JOIN countersign.result x ON x.request_id = r.id
WHERE r.id = ANY($1::uuid[])
