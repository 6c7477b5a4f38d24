SELECT toUInt8(count() > 0) AS any, max(scope) AS most
FROM aggregates
WHERE row = 'progress' AND scope BETWEEN {first:UInt32} AND {last:UInt32}
