SELECT
    tupleElement(maxIf(stand, row = 'progress'), 'offset') AS offset_stored,
    toUInt8(countIf(row = 'commit') > 0) AS left_before,
    tupleElement(maxIf(stand, row = 'commit'), 'commit_id') AS by_commit,
    toUInt64(toUnixTimestamp64Milli(now64(3))) AS clock
FROM aggregates
WHERE scope = {partition:UInt32} AND (row = 'progress' OR row = 'commit' AND number = {before:UInt64})
