-- How much of limits is used, and what nodes hold of them. Times are as in 0001.

CREATE TABLE {usages} (
    scope       TEXT    NOT NULL COLLATE BINARY,
    period      INTEGER NOT NULL,
    used        INTEGER NOT NULL,
    noticed     INTEGER NOT NULL,
    noticed_max INTEGER NOT NULL,
    PRIMARY KEY (scope, period)
) STRICT, WITHOUT ROWID;

CREATE TABLE {grants} (
    id     TEXT    NOT NULL PRIMARY KEY COLLATE BINARY,
    scope  TEXT    NOT NULL COLLATE BINARY,
    period INTEGER NOT NULL,
    amount INTEGER NOT NULL,
    until  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX {grants}_of_usage ON {grants} (scope, period);
