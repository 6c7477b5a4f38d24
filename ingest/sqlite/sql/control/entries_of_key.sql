SELECT position, kind, key, time, body FROM entries WHERE kind = ? AND key = ? ORDER BY position;
