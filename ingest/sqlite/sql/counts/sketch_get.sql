SELECT sketch FROM sketches WHERE campaign = ?1 AND link = ?2 AND kind = ?3 AND class = ?4
