-- A record of events is a row of {deliveries} as well, so that a Put stays one
-- INSERT. Its mail is '~' and the record's ID, '~~' and the ID once it was set
-- aside; no mail has such an ID. Its n is 0, its list is NULL, its recipients is
-- the number of events, and its content is the events.
--
-- Text that may hold any bytes is a BLOB. Times are as in 0001.
--
-- The column day is received as a number of days, so that old rows are at the
-- beginning of an index. The column folded is a hash of the tenant and the
-- recipient in lower case, 0 if there is no recipient. The rows lie in the order in
-- which they came.

CREATE TABLE {activities} (
    id         INTEGER PRIMARY KEY,
    mail       TEXT    NOT NULL COLLATE BINARY,
    tenant     TEXT    NOT NULL COLLATE BINARY,
    n          INTEGER NOT NULL,
    day        INTEGER NOT NULL,
    folded     INTEGER NOT NULL,
    received   INTEGER NOT NULL,
    domain     BLOB    NOT NULL,
    username   BLOB    NOT NULL,
    state      INTEGER NOT NULL,
    ord        INTEGER NOT NULL,
    updated    INTEGER NOT NULL,
    attempt    INTEGER NOT NULL,
    code       INTEGER NOT NULL,
    size       INTEGER NOT NULL,
    times      INTEGER NOT NULL,
    erased     INTEGER NOT NULL,
    sender     BLOB    NOT NULL,
    author     BLOB    NOT NULL,
    recipient  BLOB    NOT NULL,
    subject    BLOB    NOT NULL,
    message_id BLOB    NOT NULL,
    enhanced   BLOB    NOT NULL,
    said       BLOB    NOT NULL,
    host       BLOB    NOT NULL,
    field      BLOB    NOT NULL,
    reason     BLOB    NOT NULL,
    trail      BLOB    NOT NULL
) STRICT;

CREATE UNIQUE INDEX {activities}_of_mail ON {activities} (mail, tenant, n);
CREATE INDEX {activities}_of_tenant ON {activities} (tenant, received);
CREATE INDEX {activities}_of_day ON {activities} (day, folded);

CREATE TABLE {counts} (
    tenant    TEXT    NOT NULL COLLATE BINARY,
    hour      INTEGER NOT NULL,
    domain    BLOB    NOT NULL,
    username  BLOB    NOT NULL,
    accepted  INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    deferred  INTEGER NOT NULL,
    soft      INTEGER NOT NULL,
    hard      INTEGER NOT NULL,
    rejected  INTEGER NOT NULL,
    canceled  INTEGER NOT NULL,
    bytes     INTEGER NOT NULL,
    PRIMARY KEY (tenant, hour, domain, username)
) STRICT;

CREATE INDEX {counts}_of_hour ON {counts} (hour);

-- Who does a piece of work, and until when.
CREATE TABLE {claims} (
    work  TEXT    NOT NULL PRIMARY KEY COLLATE BINARY,
    who   TEXT    NOT NULL COLLATE BINARY,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
