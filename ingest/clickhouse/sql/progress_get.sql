SELECT row = 'mark' AS is_mark, number, epoch,
    tupleElement(max(stand), 'offset') AS offset_stored,
    tupleElement(max(stand), 'context') AS context_stored,
    tupleElement(max(mark), 'next') AS next_stored,
    toUInt64(toUnixTimestamp64Milli(now64(3))) AS clock
FROM aggregates
WHERE row IN ('progress', 'mark') AND scope = {partition:UInt32}
GROUP BY row, number, epoch
ORDER BY row, number, epoch
