SELECT opens, clicks, uniqCombined64Merge(14)(people) AS members
FROM populations
WHERE campaign = {campaign:UInt32}
GROUP BY opens, clicks
