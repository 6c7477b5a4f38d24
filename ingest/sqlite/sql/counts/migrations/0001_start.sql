-- Numbers of 64 bits without a sign (subjects, edges, offsets, hashes) are stored as the signed
-- number of the same bits; none of them is compared by size here.

CREATE TABLE progress (
    partition INTEGER PRIMARY KEY,
    position  INTEGER NOT NULL, -- aggregate.Progress.Offset
    context   INTEGER NOT NULL
) STRICT;

CREATE TABLE edges (
    partition INTEGER NOT NULL,
    edge      INTEGER NOT NULL,
    epoch     INTEGER NOT NULL,
    next      INTEGER NOT NULL,
    PRIMARY KEY (partition, edge, epoch)
) STRICT, WITHOUT ROWID;

CREATE TABLE counts (
    campaign INTEGER NOT NULL,
    hour     INTEGER NOT NULL,
    link     INTEGER NOT NULL,
    kind     INTEGER NOT NULL,
    reason   INTEGER NOT NULL,
    class    INTEGER NOT NULL,
    client   INTEGER NOT NULL,
    n        INTEGER NOT NULL,
    PRIMARY KEY (campaign, hour, link, kind, reason, class, client)
) STRICT, WITHOUT ROWID;

-- A sketch is up to 16 KiB, too large for a row inside an index; hence the row ids.
CREATE TABLE sketches (
    campaign INTEGER NOT NULL,
    link     INTEGER NOT NULL,
    kind     INTEGER NOT NULL,
    class    INTEGER NOT NULL,
    sketch   BLOB NOT NULL, -- see sketch.go
    UNIQUE (campaign, link, kind, class)
) STRICT;

CREATE TABLE populations (
    campaign INTEGER NOT NULL,
    opens    INTEGER NOT NULL, -- event.Reason of aggregate.Member
    clicks   INTEGER NOT NULL,
    sketch   BLOB NOT NULL,
    UNIQUE (campaign, opens, clicks)
) STRICT;

-- The only rows about a person: the number, and the day.
CREATE TABLE last_active (
    subject INTEGER PRIMARY KEY,
    day     INTEGER NOT NULL
) STRICT;
