-- Who clicked a link for sure, exactly, by the hash that means nothing without the campaign's key. Reports for advertisers are
-- made of it: one person must change them by one, which holds of no sketch. What was counted by earlier versions is not in it.
CREATE TABLE clickers (
    campaign INTEGER NOT NULL,
    link     INTEGER NOT NULL,
    hash     INTEGER NOT NULL,
    PRIMARY KEY (campaign, link, hash)
) STRICT, WITHOUT ROWID;

-- What advertisers were told. Rows are only ever added. Times are seconds since the Unix epoch.
CREATE TABLE closings (
    advertiser TEXT NOT NULL,
    number     INTEGER NOT NULL, -- 1, 2, 3 ... of the advertiser's
    starts     INTEGER NOT NULL, -- the epoch
    ends       INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (advertiser, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE releases (
    advertiser  TEXT NOT NULL,
    number      INTEGER NOT NULL, -- of the closing
    campaign    INTEGER NOT NULL,
    links       BLOB NOT NULL,    -- what was counted over: 2 bytes each, big-endian, ascending
    people      INTEGER NOT NULL, -- distinct people until then: the exact number, for the next release
    noised      INTEGER NOT NULL, -- those that are new, and noise
    epsilon_num INTEGER NOT NULL,
    epsilon_den INTEGER NOT NULL,
    PRIMARY KEY (advertiser, number, campaign)
) STRICT, WITHOUT ROWID;
