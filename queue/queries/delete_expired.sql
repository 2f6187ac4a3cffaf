DELETE FROM countersign.notice WHERE expires_at < now()
