-- A reply ($3 to $6) to a request that has not ended, without a task and beside
-- whatever was replied before, and its notification ($7).
WITH said AS (
    INSERT INTO countersign.reply (request_id, sender, body, attachment, epochs, decisive)
    SELECT $2::uuid, $1, $3, $4, $5::bytea[], $6
    WHERE (SELECT count(*) FROM countersign.result x WHERE x.request_id = $2::uuid) = 0
)
SELECT pg_notify('countersign_reply', $7)
