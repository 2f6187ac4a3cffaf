-- A notice that lives for $5 seconds by the database's clock, or for ever: what
-- the sender's clock says need not be true here.
WITH published AS (
    INSERT INTO countersign.notice (topic, key, sender, body, expires_at)
    VALUES ($1, $2, $3, $4, coalesce(clock_timestamp() + $5::double precision * interval '1 second', 'infinity'))
    ON CONFLICT DO NOTHING
    RETURNING 1
)
SELECT (SELECT count(*) FROM published), pg_notify('countersign_notice', $1)
