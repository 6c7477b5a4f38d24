INSERT INTO mails (campaign, html)
