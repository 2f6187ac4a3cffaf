WITH published AS (
    INSERT INTO countersign.notice (topic, key, sender, body, expires_at)
    VALUES ($1, $2, $3, $4, coalesce($5::timestamptz, 'infinity'))
    ON CONFLICT DO NOTHING
    RETURNING 1
)
SELECT (SELECT count(*) FROM published), pg_notify('countersign_notice', $1)
