INSERT INTO activity (subject, day, until)
