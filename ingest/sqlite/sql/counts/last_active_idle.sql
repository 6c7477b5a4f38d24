SELECT subject, day FROM last_active
WHERE subject BETWEEN ?1 AND ?2 AND day < ?3
ORDER BY subject
LIMIT ?4
