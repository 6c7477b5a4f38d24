-- Counts, distinct counts, days and progress in one table: one INSERT is one part, and one part is
-- there wholly or not at all. FORMAT.md says which columns a kind of row uses; the others are zero.
CREATE TABLE IF NOT EXISTS aggregates{{.OnCluster}} (
    row     Enum8('progress' = 1, 'commit' = 2, 'mark' = 3, 'count' = 4, 'unique' = 5, 'active' = 6),
    scope   UInt32, -- progress, commit, mark: partition; count, unique: campaign
    kind    UInt8,  -- event.Kind
    link    UInt16,
    class   UInt8,  -- classify.Class
    hour    UInt32, -- since the Unix epoch, UTC
    reason  UInt8,  -- event.Reason
    client  UInt8,  -- event.Client
    number  UInt64, -- commit: offset before; mark: edge; active: subject
    epoch   UInt64, -- mark

    -- What a client sends of a commit, of which the columns below are made.
    offset    UInt64 EPHEMERAL, -- progress, commit, mark: offset after
    commit_id UInt64 EPHEMERAL, -- progress, commit: random
    context   UInt64 EPHEMERAL, -- progress, commit
    next      UInt64 EPHEMERAL, -- mark
    deadline  UInt32 EPHEMERAL, -- commit: the server's clock by which it must have arrived
    hashes    Array(UInt64) EPHEMERAL, -- unique

    n      SimpleAggregateFunction(sum, UInt64),
    day    SimpleAggregateFunction(max, UInt32), -- active: since the Unix epoch, UTC
    stand  SimpleAggregateFunction(max, Tuple(offset UInt64, commit_id UInt64, context UInt64)) DEFAULT (offset, commit_id, context),
    mark   SimpleAggregateFunction(max, Tuple(offset UInt64, next UInt64)) DEFAULT (offset, next),
    people AggregateFunction(uniqCombined64(14), UInt64) DEFAULT arrayReduce('uniqCombined64State(14)', hashes) CODEC(ZSTD(1)),
    -- A commit that its writer slept over is refused: the tokens that it would be known by may be forgotten.
    late   SimpleAggregateFunction(max, UInt8) DEFAULT throwIf(row = 'commit' AND deadline < toUInt32(now()), 'mailbeacon: this commit comes too late'),
    at     SimpleAggregateFunction(max, DateTime) DEFAULT if(row = 'commit', now(), toDateTime(0))
) ENGINE = {{.Engine "AggregatingMergeTree"}}
ORDER BY (row, scope, kind, link, class, hour, reason, client, number, epoch)
TTL at + INTERVAL 1 DAY DELETE WHERE row = 'commit'
SETTINGS index_granularity = 128, fsync_after_insert = 1, fsync_part_directory = 1, {{.Deduplication}};
