-- The lives of the topic of events that were counted from. A topic that is deleted and made anew is another life, whose offsets
-- begin again: its partitions' rows in aggregates have its number in their scope. Of all INSERTs of a number one wins.
CREATE TABLE IF NOT EXISTS streams{{.OnCluster}} (
    number   UInt16,
    id       FixedString(16), -- Kafka's; logs show hex(id)
    topic    String,
    deadline UInt32 EPHEMERAL, -- the server's clock by which it must have arrived
    at       DateTime DEFAULT now(),
    late     UInt8 DEFAULT throwIf(deadline < toUInt32(now()), 'mailbeacon: this stream comes too late')
) ENGINE = {{.Engine "MergeTree"}}
ORDER BY number
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, {{.Deduplication}};
