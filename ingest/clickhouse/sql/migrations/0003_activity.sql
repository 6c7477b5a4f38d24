-- The day of each person's last activity. It is the same whoever writes it, and however often, so it need not
-- be in a commit's part; a row of aggregates costs ten times as much.
CREATE TABLE IF NOT EXISTS activity{{.OnCluster}} (
    subject UInt64,
    day     SimpleAggregateFunction(max, UInt32) -- since the Unix epoch, UTC
) ENGINE = {{.Engine "AggregatingMergeTree"}}
ORDER BY subject
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
INSERT INTO activity SELECT number, max(day) FROM aggregates WHERE row = 'active' GROUP BY number;
