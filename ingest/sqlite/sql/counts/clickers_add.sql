INSERT INTO clickers (campaign, link, hash) SELECT ?1, ?2, value FROM json_each(?3) WHERE true ON CONFLICT DO NOTHING
