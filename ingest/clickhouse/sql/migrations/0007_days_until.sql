-- A day of activity is noted as long as its writer's knowledge of consent holds, and no longer, as commits are: until is as theirs. Writers
-- before this version send none.
ALTER TABLE activity{{.OnCluster}} ADD COLUMN IF NOT EXISTS until UInt64 EPHEMERAL;
ALTER TABLE activity{{.OnCluster}} ADD COLUMN IF NOT EXISTS
    late SimpleAggregateFunction(max, UInt8) DEFAULT throwIf(
        until > 0 AND until <= toUInt64(toUnixTimestamp64Milli(now64(3))), 'mailbeacon: this day of activity comes too late');
