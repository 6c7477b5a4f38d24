SELECT opens, clicks, sketch FROM populations WHERE campaign = ?1 ORDER BY opens, clicks
