SELECT day FROM last_active WHERE subject = ?1
