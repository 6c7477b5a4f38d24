SELECT position, key, time, body
FROM ledger
WHERE position IN (SELECT position FROM ledger_people WHERE subject = {subject:UInt64})
ORDER BY position
LIMIT 1 BY position
