-- Who clicked a link for sure, exactly, by the hash that means nothing without the campaign's key: of rows unique of kind click and
-- class human. One person must change what advertisers are told by one, which holds of no sketch. What was counted before is not in it.
ALTER TABLE aggregates{{.OnCluster}} ADD COLUMN IF NOT EXISTS
    clickers AggregateFunction(uniqExact, UInt64) DEFAULT arrayReduce('uniqExactState', if(row = 'unique' AND kind = 2 AND class = 1, hashes, emptyArrayUInt64()));
-- What advertisers were told. A row of campaign 0 is the closing itself, the others what was released. All rows of a closing are one INSERT, and of
-- all INSERTs of a number one wins.
CREATE TABLE IF NOT EXISTS closings{{.OnCluster}} (
    advertiser  String,
    number      UInt32, -- 1, 2, 3 ... of the advertiser's
    campaign    UInt32,
    id          UInt64, -- random, of the INSERT
    starts      Int64,  -- the epoch, in seconds since the Unix epoch
    ends        Int64,
    closed      Int64,
    links       Array(UInt16),
    people      UInt64, -- distinct people until then: the exact number, for the next release
    noised      Int64,  -- those that are new, and noise
    epsilon_num UInt32,
    epsilon_den UInt32,
    deadline    UInt32 EPHEMERAL, -- the server's clock by which it must have arrived
    late        UInt8 DEFAULT throwIf(deadline < toUInt32(now()), 'mailbeacon: this closing comes too late')
) ENGINE = {{.Engine "MergeTree"}}
ORDER BY (advertiser, number, campaign)
SETTINGS index_granularity = 128, fsync_after_insert = 1, fsync_part_directory = 1, {{.Deduplication}};
