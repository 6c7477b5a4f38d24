SELECT max(number) AS last, anyIf(id, number = {number:UInt32}) AS by_id, toUInt8(countIf(number = {number:UInt32}) > 0) AS there, toUInt32(now()) AS clock
FROM closings
WHERE advertiser = {advertiser:String}
