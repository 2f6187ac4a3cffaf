-- Intents, each with its audit entry, for tasks that are as they were claimed
-- ($5), which stay leased for $6 seconds more; where none was claimed (not $7)
-- nobody else may have leased them, and the requests must be those that were
-- heard of ($8). None may be cancelled, but after an intent, or where who writes
-- it was told so ($9), and none may have more decisive replies for the epochs ($10)
-- than when who writes it read them ($11): what was said before this statement
-- counts. Where a task is another it divides by zero, and nothing is written.
WITH held AS (
    UPDATE countersign.task t
    SET leased_until = clock_timestamp() + $6 * interval '1 second'
    WHERE t.consumer = $4 AND t.request_id = ANY($1::uuid[]) AND t.state <> 2
      AND t.version = ($5::bigint[])[array_position($1::uuid[], t.request_id)]
      AND (NOT t.cancelled OR ($9::boolean[])[array_position($1::uuid[], t.request_id)]
           OR (SELECT count(*) FROM countersign.intent i WHERE i.request_id = t.request_id) > 0)
      AND (SELECT count(*) FROM countersign.reply p
           WHERE p.request_id = t.request_id AND p.decisive AND p.epochs && $10::bytea[])
          <= ($11::bigint[])[array_position($1::uuid[], t.request_id)]
      AND ($7 OR t.leased_until NOT BETWEEN now() AND now() + interval '2 minutes')
    RETURNING 1
), written AS (
    INSERT INTO countersign.intent (request_id, instance, body)
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[])
    RETURNING request_id, body
), logged AS (
    INSERT INTO countersign.audit_entry (kind, request_id, body)
    SELECT 'intent', w.request_id, w.body FROM written w
)
SELECT 1 / (count(*) = cardinality($1::uuid[])
            AND ($7 OR (SELECT bool_and((SELECT r.hash FROM countersign.request r WHERE r.id = o.id) IS NOT DISTINCT FROM o.hash)
                        FROM unnest($1::uuid[], $8::bytea[]) AS o (id, hash))))::integer
FROM held
