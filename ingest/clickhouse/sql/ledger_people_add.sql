INSERT INTO ledger_people (subject, position)
