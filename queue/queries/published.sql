SELECT sender = $3 AND body = $4 FROM countersign.notice WHERE topic = $1 AND key = $2
