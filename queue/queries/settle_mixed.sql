-- Like keep.sql, with replies ($9 to $13) and a notification ($14) as in
-- settle.sql: not for those who may not reply.
WITH kept AS (
    UPDATE countersign.task t
    SET state = CASE WHEN t.version <> ($7::bigint[])[array_position($2::uuid[], t.request_id)]
                      AND ($3::smallint[])[array_position($2::uuid[], t.request_id)] <> 2 THEN 0
                     ELSE ($3::smallint[])[array_position($2::uuid[], t.request_id)] END,
        available_at = CASE WHEN t.version <> ($7::bigint[])[array_position($2::uuid[], t.request_id)]
                             AND ($3::smallint[])[array_position($2::uuid[], t.request_id)] <> 2 THEN clock_timestamp()
            WHEN ($4::double precision[])[array_position($2::uuid[], t.request_id)] < 0 THEN 'infinity'
            ELSE clock_timestamp() + ($4::double precision[])[array_position($2::uuid[], t.request_id)] * interval '1 second' END,
        seen_reply = coalesce(nullif(($5::bigint[])[array_position($2::uuid[], t.request_id)], 0), t.seen_reply),
        note = ($6::text[])[array_position($2::uuid[], t.request_id)],
        leased_until = '-infinity'
    WHERE t.consumer = $1 AND t.request_id = ANY($2::uuid[])
    RETURNING t.version <> ($7::bigint[])[array_position($2::uuid[], t.request_id)] AS wanted
), done AS (
    DELETE FROM countersign.task t
    WHERE t.consumer = $1 AND t.request_id = ANY($8::uuid[])
    RETURNING 1
), said AS (
    INSERT INTO countersign.reply (request_id, sender, body, attachment, epochs, decisive)
    SELECT r.request_id, $1, r.body, r.attachment, r.epochs::bytea[], r.decisive
    FROM unnest($9::uuid[], $10::bytea[], $11::bytea[], $12::text[], $13::boolean[])
        AS r (request_id, body, attachment, epochs, decisive)
)
SELECT coalesce(bool_or(k.wanted), false),
       1 / (count(*) = cardinality($2::uuid[]) AND (SELECT count(*) FROM done) = cardinality($8::uuid[]) /* grounds */)::integer,
       pg_notify('countersign_reply', $14)
FROM kept k
