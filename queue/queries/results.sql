SELECT request_id, status, body, created_at FROM countersign.result WHERE request_id = ANY($1::uuid[])
