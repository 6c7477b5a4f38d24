SELECT hour, link, kind, reason, class, client, n FROM counts WHERE campaign = ?1
