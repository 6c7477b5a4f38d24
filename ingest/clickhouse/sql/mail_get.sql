SELECT html FROM mails WHERE campaign = {campaign:UInt32} ORDER BY at DESC LIMIT 1
