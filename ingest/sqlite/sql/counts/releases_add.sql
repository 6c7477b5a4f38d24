INSERT INTO releases (advertiser, number, campaign, links, people, noised, epsilon_num, epsilon_den) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
