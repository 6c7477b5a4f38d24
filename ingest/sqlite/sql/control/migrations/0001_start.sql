-- The control log. Rows are only ever added; AUTOINCREMENT keeps a position from being given twice.
CREATE TABLE entries (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    kind     TEXT NOT NULL,
    key      TEXT NOT NULL,
    time     INTEGER NOT NULL, -- milliseconds since the Unix epoch
    body     BLOB NOT NULL
) STRICT;

CREATE INDEX entries_by_key ON entries (kind, key, position);
