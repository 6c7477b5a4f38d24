SELECT coalesce(max(number), 0) FROM closings WHERE advertiser = ?1
