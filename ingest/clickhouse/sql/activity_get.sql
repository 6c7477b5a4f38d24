SELECT subject, max(day) AS last
FROM activity
WHERE subject IN {subjects:Array(UInt64)}
GROUP BY subject
