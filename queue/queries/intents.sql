INSERT INTO countersign.intent (request_id, instance, body)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[])
