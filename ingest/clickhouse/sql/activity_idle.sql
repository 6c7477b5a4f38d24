SELECT subject, max(day) AS last
FROM activity
WHERE subject > {after:UInt64}
GROUP BY subject
HAVING last < {before:UInt32}
ORDER BY subject
LIMIT {most:UInt32}
