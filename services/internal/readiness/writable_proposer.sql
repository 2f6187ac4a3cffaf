-- Rolled back always. The proposer writes requests and tasks.
WITH tasks AS (
    INSERT INTO countersign.task (consumer, request_id)
    SELECT '', gen_random_uuid() WHERE false
)
INSERT INTO countersign.request (id, body, hash, fingerprint, owner, kind, wallet, expires_at)
VALUES (gen_random_uuid(), '\x00', '\x', '\x', '', '', '', now())
RETURNING current_setting('default_transaction_read_only') = 'on'
