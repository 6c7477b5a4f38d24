SELECT count(DISTINCT hash) FROM clickers WHERE campaign = ?1 AND link IN (SELECT value FROM json_each(?2))
