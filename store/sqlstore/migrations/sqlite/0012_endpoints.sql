-- Endpoints of webhooks, and the last requests to each. Times are as in 0001, took is
-- in microseconds.

CREATE TABLE {endpoints} (
    tenant    TEXT    NOT NULL COLLATE BINARY,
    id        TEXT    NOT NULL COLLATE BINARY,
    slot      INTEGER NOT NULL,
    created   INTEGER NOT NULL,
    types     BLOB    NOT NULL,
    sealed    BLOB    NOT NULL,
    off       BLOB    NOT NULL,
    off_since INTEGER NOT NULL,
    failing   INTEGER NOT NULL,
    version   INTEGER NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, slot)
) STRICT, WITHOUT ROWID;

CREATE TABLE {endpoint_attempts} (
    tenant   TEXT    NOT NULL COLLATE BINARY,
    endpoint TEXT    NOT NULL COLLATE BINARY,
    id       TEXT    NOT NULL COLLATE BINARY,
    at       INTEGER NOT NULL,
    took     INTEGER NOT NULL,
    event    BLOB    NOT NULL,
    type     BLOB    NOT NULL,
    attempt  INTEGER NOT NULL,
    status   INTEGER NOT NULL,
    reason   BLOB    NOT NULL,
    PRIMARY KEY (tenant, endpoint, id)
) STRICT, WITHOUT ROWID;
