-- The keys of mails, and with which mail each was kept. Times are as in 0001.

CREATE TABLE {submissions} (
    username    BLOB NOT NULL,
    submission  BLOB NOT NULL,
    mail        TEXT NOT NULL COLLATE BINARY,
    fingerprint BLOB NOT NULL,
    until       INTEGER NOT NULL,
    PRIMARY KEY (username, submission)
) STRICT, WITHOUT ROWID;

CREATE INDEX {submissions}_of_until ON {submissions} (until);
