-- Rolled back always. A policy service ($1) writes announcements, replies, its
-- records, and its own tasks.
WITH replies AS (
    INSERT INTO countersign.reply (request_id, sender, body, attachment, epochs, decisive)
    SELECT gen_random_uuid(), $1, '\x'::bytea, '\x'::bytea, '{}'::bytea[], false WHERE false
), records AS (
    INSERT INTO countersign.record (role, seq, body, mac) SELECT $1, 0, '\x'::bytea, '\x'::bytea WHERE false
), kept AS (
    UPDATE countersign.task SET state = 0 WHERE false
), done AS (
    DELETE FROM countersign.task WHERE false
)
INSERT INTO countersign.notice (topic, key, sender, body, expires_at)
VALUES ('announcement', 'readiness/' || gen_random_uuid(), $1, '\x', now())
RETURNING current_setting('default_transaction_read_only') = 'on'
