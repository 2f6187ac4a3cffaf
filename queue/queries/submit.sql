-- New requests with a task for each consumer. An id that is taken is left out
-- of the answer.
WITH taken AS (
    INSERT INTO countersign.request (id, body, hash, fingerprint, owner, kind, wallet, expires_at)
    SELECT * FROM unnest($1::uuid[], $2::bytea[], $3::bytea[], $4::bytea[],
                         $5::text[], $6::text[], $7::text[], $8::timestamptz[])
    ON CONFLICT DO NOTHING
    RETURNING id
), queued AS (
    INSERT INTO countersign.task (consumer, request_id)
    SELECT c.name, taken.id FROM taken CROSS JOIN unnest($9::text[]) AS c (name)
), told AS MATERIALIZED (
    SELECT pg_notify('countersign_task', '') FROM (SELECT FROM taken LIMIT 1) AS any_taken
)
SELECT taken.id FROM taken WHERE (SELECT count(*) FROM told) >= 0
