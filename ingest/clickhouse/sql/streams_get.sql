SELECT number, id, topic, at
FROM streams
ORDER BY number
LIMIT 1 BY number
