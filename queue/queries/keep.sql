-- Tasks that are kept ($2), with a state ($3), a delay in seconds ($4; negative:
-- for ever), the number of replies seen ($5; 0: as before) and a note ($6);
-- it fails like settle.sql.
WITH kept AS (
    UPDATE countersign.task t
    SET state = ($3::smallint[])[array_position($2::uuid[], t.request_id)],
        available_at = CASE WHEN ($4::double precision[])[array_position($2::uuid[], t.request_id)] < 0 THEN 'infinity'
            ELSE clock_timestamp() + ($4::double precision[])[array_position($2::uuid[], t.request_id)] * interval '1 second' END,
        seen_reply = coalesce(nullif(($5::bigint[])[array_position($2::uuid[], t.request_id)], 0), t.seen_reply),
        note = ($6::text[])[array_position($2::uuid[], t.request_id)]
    WHERE t.consumer = $1 AND t.request_id = ANY($2::uuid[])
    RETURNING 1
)
SELECT CASE WHEN k.n = cardinality($2::uuid[]) THEN 0 ELSE ('only ' || k.n || ' tasks are kept')::integer END
FROM (SELECT count(*) AS n FROM kept) k
