-- The consent ledger: every consent record of the control log as it came, which the log itself drops once it has
-- a newer one. Rows are only ever added; those of one position are the same, whoever added them.
CREATE TABLE IF NOT EXISTS ledger{{.OnCluster}} (
    position UInt64,
    key      String,
    time     Int64,  -- milliseconds since the Unix epoch
    body     String CODEC(ZSTD(1))
) ENGINE = {{.Engine "ReplacingMergeTree"}}
ORDER BY position
SETTINGS index_granularity = 128, fsync_after_insert = 1, fsync_part_directory = 1;
-- Which of them speak of a person. They are added first: a position that is in the ledger is found by its people.
CREATE TABLE IF NOT EXISTS ledger_people{{.OnCluster}} (
    subject  UInt64,
    position UInt64
) ENGINE = {{.Engine "ReplacingMergeTree"}}
ORDER BY (subject, position)
SETTINGS index_granularity = 512, fsync_after_insert = 1, fsync_part_directory = 1;
