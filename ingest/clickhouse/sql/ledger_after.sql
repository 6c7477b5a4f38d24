SELECT position, key, time, body
FROM ledger
WHERE position > {after:UInt64}
ORDER BY position
LIMIT 1 BY position
LIMIT {most:UInt32}
