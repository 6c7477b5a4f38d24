SELECT c.number, c.starts, c.ends, c.at, r.campaign, r.links, r.people, r.noised, r.epsilon_num, r.epsilon_den
FROM closings AS c LEFT JOIN releases AS r USING (advertiser, number)
WHERE c.advertiser = ?1
ORDER BY c.number, r.campaign
