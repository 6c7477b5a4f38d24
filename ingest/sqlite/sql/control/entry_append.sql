INSERT INTO entries (kind, key, time, body) VALUES (?, ?, ?, ?);
