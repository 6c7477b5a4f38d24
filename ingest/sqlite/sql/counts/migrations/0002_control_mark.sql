-- How far the control log was known to go, which lies in a file of its own: an older copy of that
-- file would give numbers out again that mail carries already.
CREATE TABLE control_mark (
    only     INTEGER PRIMARY KEY CHECK (only = 1),
    position INTEGER NOT NULL
) STRICT;
