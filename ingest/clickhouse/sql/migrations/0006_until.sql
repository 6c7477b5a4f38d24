-- A commit that its writer slept over is refused to the millisecond: what its writer knew of consent holds no longer than that. until
-- is the server's clock, in milliseconds, before which a commit must have arrived. deadline, in whole seconds, is what versions before this one send.
ALTER TABLE aggregates{{.OnCluster}} ADD COLUMN IF NOT EXISTS until UInt64 EPHEMERAL;
ALTER TABLE aggregates{{.OnCluster}} MODIFY COLUMN
    late SimpleAggregateFunction(max, UInt8) DEFAULT throwIf(
        row = 'commit' AND if(until > 0, until <= toUInt64(toUnixTimestamp64Milli(now64(3))), deadline < toUInt32(now())),
        'mailbeacon: this commit comes too late');
