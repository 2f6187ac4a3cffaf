-- New requests with a task for each consumer, and one notification: the same
-- again within a transaction is left out. An id that is taken is left out of the
-- answer. Expiries are by the proposer's clock, which says $10 now: what is stored
-- is by the database's. The notification may offer the new ones ($12); then those
-- to whom it offers them ($9) find nothing to claim for a while ($11, in seconds).
WITH taken AS (
    INSERT INTO countersign.request (id, body, hash, fingerprint, owner, kind, wallet, expires_at)
    SELECT unnest($1::uuid[]), unnest($2::bytea[]), unnest($3::bytea[]), unnest($4::bytea[]),
           unnest($5::text[]), unnest($6::text[]), unnest($7::text[]), unnest($8::timestamptz[]) + (clock_timestamp() - $10::timestamptz)
    ON CONFLICT DO NOTHING
    RETURNING id
), queued AS (
    INSERT INTO countersign.task (consumer, request_id, leased_until)
    SELECT c.name, taken.id, clock_timestamp() + c.hold * interval '1 second'
    FROM taken, unnest($9::text[], $11::double precision[]) AS c (name, hold)
) /* later */
SELECT taken.id, pg_notify('countersign_task', (SELECT coalesce(string_agg(($12::text[])[array_position($1::uuid[], o.id)], ''), '') FROM taken o)) FROM taken
