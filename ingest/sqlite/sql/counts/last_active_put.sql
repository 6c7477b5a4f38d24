INSERT INTO last_active (subject, day) VALUES (?1, ?2)
ON CONFLICT (subject) DO UPDATE SET day = excluded.day WHERE excluded.day > day
