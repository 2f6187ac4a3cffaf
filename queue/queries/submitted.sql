-- What stands under ids that are taken.
SELECT id, owner, fingerprint FROM countersign.request WHERE id = ANY($1::uuid[])
