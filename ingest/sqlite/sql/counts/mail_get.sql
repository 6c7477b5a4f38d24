SELECT html FROM mails WHERE campaign = ?1
