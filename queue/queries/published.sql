-- Who sent it does not matter: one service may say what another has said.
SELECT body = $3 FROM countersign.notice WHERE topic = $1 AND key = $2
