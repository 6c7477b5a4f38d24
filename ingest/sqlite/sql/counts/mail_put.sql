INSERT INTO mails (campaign, html) VALUES (?1, ?2) ON CONFLICT (campaign) DO UPDATE SET html = ?2
