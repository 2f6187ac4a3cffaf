SELECT request_id, consumer, state, note FROM countersign.task WHERE request_id = ANY($1::uuid[]) ORDER BY consumer
