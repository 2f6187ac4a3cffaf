-- +goose Up

-- The files of a policy document's lists are notices under their SHA-256, and
-- larger than any message.
ALTER TABLE countersign.notice
    DROP CONSTRAINT notice_topic_check,
    DROP CONSTRAINT notice_body_check,
    ADD CONSTRAINT notice_topic_check CHECK (topic IN ('hello', 'announcement', 'policy', 'list')),
    ADD CONSTRAINT notice_body_check CHECK (octet_length(body) <= CASE topic WHEN 'list' THEN 16777216 ELSE 4194304 END);
