-- The first counted hour is found at the start of the primary key, unless all before it is suppressed.
SELECT hour, kind, sum(n) FROM counts
WHERE campaign = ?1 AND reason = ?2 AND hour < ?3 + (SELECT hour FROM counts WHERE campaign = ?1 AND reason = ?2 ORDER BY hour LIMIT 1)
GROUP BY hour, kind
