SELECT kind, reason, class, sum(n) FROM counts WHERE campaign = ?1 GROUP BY kind, reason, class
