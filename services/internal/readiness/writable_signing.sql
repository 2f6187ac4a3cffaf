-- Rolled back always. The signing service writes hellos, intents, results,
-- audit entries, wallets, accounts, and its own tasks.
WITH intents AS (
    INSERT INTO countersign.intent (request_id, instance, body) SELECT gen_random_uuid(), '', '\x'::bytea WHERE false
), results AS (
    INSERT INTO countersign.result (request_id, status, body) SELECT gen_random_uuid(), '', '\x'::bytea WHERE false
), entries AS (
    INSERT INTO countersign.audit_entry (kind, request_id, body) SELECT '', gen_random_uuid(), '\x'::bytea WHERE false
), wallets AS (
    INSERT INTO countersign.wallet (id, owner, descriptor, ciphertext) SELECT '', '', '\x'::bytea, '\x'::bytea WHERE false
), accounts AS (
    INSERT INTO countersign.account (id, wallet_id, owner, descriptor, ciphertext)
    SELECT '', '', '', '\x'::bytea, '\x'::bytea WHERE false
), kept AS (
    UPDATE countersign.task SET state = 0 WHERE false
), done AS (
    DELETE FROM countersign.task WHERE false
)
INSERT INTO countersign.notice (topic, key, sender, body, expires_at)
VALUES ('hello', 'readiness/' || gen_random_uuid(), 'signing', '\x', now())
RETURNING current_setting('default_transaction_read_only') = 'on'
