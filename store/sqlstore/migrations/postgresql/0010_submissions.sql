-- The keys of mails, and with which mail each was kept. Times are as in 0001.

CREATE TABLE {submissions} (
    username    BYTEA NOT NULL,
    submission  BYTEA NOT NULL,
    mail        TEXT NOT NULL COLLATE "C",
    fingerprint BYTEA NOT NULL,
    until       BIGINT NOT NULL,
    PRIMARY KEY (username, submission)
);

CREATE INDEX {submissions}_of_until ON {submissions} (until);
