SELECT kind, link, class, sketch FROM sketches WHERE campaign = ?1 ORDER BY kind, link, class
