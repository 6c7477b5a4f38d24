SELECT position FROM ledger ORDER BY position DESC LIMIT 1
