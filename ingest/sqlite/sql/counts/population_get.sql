SELECT sketch FROM populations WHERE campaign = ?1 AND opens = ?2 AND clicks = ?3
