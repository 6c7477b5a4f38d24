INSERT INTO closings (advertiser, number, starts, ends, at) VALUES (?1, ?2, ?3, ?4, ?5)
