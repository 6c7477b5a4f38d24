CREATE TABLE IF NOT EXISTS migrations{{.OnCluster}} (
    version UInt32,
    name    String,
    at      DateTime DEFAULT now()
) ENGINE = {{.Engine "MergeTree"}}
ORDER BY version
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
