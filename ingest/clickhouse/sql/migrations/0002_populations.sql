-- Who was sent a campaign, by membership. No commit writes here.
CREATE TABLE IF NOT EXISTS populations{{.OnCluster}} (
    campaign UInt32,
    opens    UInt8, -- event.Reason of aggregate.Member
    clicks   UInt8,
    hashes   Array(UInt64) EPHEMERAL,
    people   AggregateFunction(uniqCombined64(14), UInt64) DEFAULT arrayReduce('uniqCombined64State(14)', hashes) CODEC(ZSTD(1))
) ENGINE = {{.Engine "AggregatingMergeTree"}}
ORDER BY (campaign, opens, clicks)
SETTINGS index_granularity = 16, fsync_after_insert = 1, fsync_part_directory = 1;
