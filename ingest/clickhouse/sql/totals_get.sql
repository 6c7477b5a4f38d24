SELECT scope, kind, reason, class, sum(n) AS total
FROM aggregates
WHERE row = 'count' AND scope IN ({campaigns:Array(UInt32)})
GROUP BY scope, kind, reason, class
