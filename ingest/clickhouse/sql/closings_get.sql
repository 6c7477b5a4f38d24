SELECT number, campaign, id, starts, ends, closed, links, people, noised, epsilon_num, epsilon_den
FROM closings
WHERE advertiser = {advertiser:String}
ORDER BY number, campaign
