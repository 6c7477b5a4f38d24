INSERT INTO progress (partition, position, context) VALUES (?1, ?2, ?3)
ON CONFLICT (partition) DO UPDATE SET position = excluded.position, context = excluded.context
