SELECT toUInt32(now()) AS clock
