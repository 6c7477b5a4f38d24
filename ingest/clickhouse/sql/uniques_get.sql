SELECT kind, link, toUInt8(grouping(link)) AS whole,
    uniqCombined64MergeIf(14)(people, class = {human:UInt8}) AS certain,
    uniqCombined64Merge(14)(people) AS possible
FROM aggregates
WHERE row = 'unique' AND scope = {campaign:UInt32} AND class != {machine:UInt8}
GROUP BY GROUPING SETS ((kind, link), (kind))
