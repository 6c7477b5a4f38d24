SELECT hour, link, kind, reason, class, client, sum(n) AS total
FROM aggregates
WHERE row = 'count' AND scope = {campaign:UInt32}
GROUP BY hour, link, kind, reason, class, client
