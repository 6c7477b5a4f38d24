SELECT scope, kind,
    uniqCombined64MergeIf(14)(people, class = {human:UInt8}) AS certain,
    uniqCombined64Merge(14)(people) AS possible
FROM aggregates
WHERE row = 'unique' AND scope IN ({campaigns:Array(UInt32)}) AND class != {machine:UInt8}
GROUP BY scope, kind
