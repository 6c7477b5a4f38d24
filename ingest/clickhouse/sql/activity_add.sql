INSERT INTO activity (subject, day)
