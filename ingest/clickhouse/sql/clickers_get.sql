SELECT uniqExactMerge(clickers) AS clicked
FROM aggregates
WHERE row = 'unique' AND scope = {campaign:UInt32} AND kind = 2 AND class = 1 AND has({links:Array(UInt16)}, link)
