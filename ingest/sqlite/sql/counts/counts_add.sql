INSERT INTO counts (campaign, hour, link, kind, reason, class, client, n) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
ON CONFLICT (campaign, hour, link, kind, reason, class, client) DO UPDATE SET n = n + excluded.n
