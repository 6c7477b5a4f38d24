INSERT INTO edges (partition, edge, epoch, next) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (partition, edge, epoch) DO UPDATE SET next = excluded.next
