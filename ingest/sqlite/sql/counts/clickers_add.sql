INSERT INTO clickers (campaign, link, hash) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING
