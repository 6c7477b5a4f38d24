-- A campaign's mail as it was designed, before it was made for anybody.
CREATE TABLE mails (
    campaign INTEGER PRIMARY KEY,
    html     BLOB NOT NULL
) STRICT;
