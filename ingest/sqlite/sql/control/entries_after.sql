SELECT position, kind, key, time, body FROM entries WHERE position > ? ORDER BY position LIMIT ?;
