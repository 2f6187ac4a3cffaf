-- The end of a batch of which some tasks are kept ($2): with a state ($3), a
-- delay in seconds ($4; negative: for ever), the number of replies seen ($5; 0:
-- as before) and a note ($6). One whose version is not the one that was claimed
-- ($7) is wanted again, and ready at once unless it is dead; it is told whether
-- there is one. The others are done ($8). It fails like settle.sql.
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
)
SELECT coalesce(bool_or(k.wanted), false),
       1 / (count(*) = cardinality($2::uuid[]) AND (SELECT count(*) FROM done) = cardinality($8::uuid[]) /* grounds */)::integer
FROM kept k
