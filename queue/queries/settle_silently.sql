-- The same without replies, for those who may write none.
WITH done AS (
    DELETE FROM countersign.task t
    WHERE t.consumer = $1 AND t.request_id = ANY($2::uuid[])
    RETURNING 1
), kept AS (
    UPDATE countersign.task t
    SET state = ($4::smallint[])[array_position($3::uuid[], t.request_id)],
        available_at = CASE WHEN ($5::double precision[])[array_position($3::uuid[], t.request_id)] < 0 THEN 'infinity'
            ELSE clock_timestamp() + ($5::double precision[])[array_position($3::uuid[], t.request_id)] * interval '1 second' END,
        seen_reply = coalesce(nullif(($6::bigint[])[array_position($3::uuid[], t.request_id)], 0), t.seen_reply),
        note = ($7::text[])[array_position($3::uuid[], t.request_id)]
    WHERE t.consumer = $1 AND t.request_id = ANY($3::uuid[])
    RETURNING 1
)
SELECT (SELECT count(*) FROM done), (SELECT count(*) FROM kept), 0, NULL
