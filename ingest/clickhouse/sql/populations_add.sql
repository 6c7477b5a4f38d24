INSERT INTO populations (campaign, opens, clicks, hashes)
