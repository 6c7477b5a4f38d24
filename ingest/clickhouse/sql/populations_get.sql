SELECT opens, clicks, toUInt8(grouping(opens)) AS whole, uniqCombined64Merge(14)(people) AS members
FROM populations
WHERE campaign = {campaign:UInt32}
GROUP BY GROUPING SETS ((opens, clicks), ())
