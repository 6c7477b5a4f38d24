INSERT INTO closings (advertiser, number, campaign, id, starts, ends, closed, links, people, noised, epsilon_num, epsilon_den, deadline)
