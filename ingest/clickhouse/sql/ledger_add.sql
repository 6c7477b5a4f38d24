INSERT INTO ledger (position, key, time, body)
