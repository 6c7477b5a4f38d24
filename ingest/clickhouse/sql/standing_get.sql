SELECT
    tupleElement(maxIf(stand, row = 'progress'), 'offset') AS offset_stored,
    toUInt8(countIf(row = 'commit') > 0) AS left_before,
    tupleElement(maxIf(stand, row = 'commit'), 'commit_id') AS by_commit,
    toUInt32(now()) AS clock
FROM aggregates
WHERE scope = {partition:UInt32} AND (row = 'progress' OR row = 'commit' AND number = {before:UInt64})
