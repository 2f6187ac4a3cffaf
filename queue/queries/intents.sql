-- Intents, each with its audit entry. It fails by itself or does all.
WITH written AS (
    INSERT INTO countersign.intent (request_id, instance, body)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[])
    RETURNING request_id, body
)
INSERT INTO countersign.audit_entry (kind, request_id, body)
SELECT 'intent', w.request_id, w.body FROM written w
