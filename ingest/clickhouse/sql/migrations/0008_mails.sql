-- A campaign's mail as it was designed, before it was made for anybody. The last that came holds.
CREATE TABLE IF NOT EXISTS mails{{.OnCluster}} (
    campaign UInt32,
    at       DateTime64(6) DEFAULT now64(6),
    html     String CODEC(ZSTD(3))
) ENGINE = {{.Engine "ReplacingMergeTree"}}
ORDER BY campaign
SETTINGS index_granularity = 16, fsync_after_insert = 1, fsync_part_directory = 1;
