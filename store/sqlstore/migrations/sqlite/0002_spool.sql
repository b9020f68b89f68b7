-- Text that may hold any bytes is a BLOB. Times are as in 0001.
--
-- The columns of a mail come before its content, so that reading them never
-- touches the pages of the content. A content that is too large to be kept in
-- the row is in the table of contents, under the name in the column upload.

CREATE TABLE {mails} (
    id          TEXT    NOT NULL PRIMARY KEY COLLATE BINARY,
    tenant      TEXT    NOT NULL COLLATE BINARY,
    domain      BLOB    NOT NULL,
    username    BLOB    NOT NULL,
    sender      BLOB    NOT NULL,
    remote      TEXT    NOT NULL,
    received    INTEGER NOT NULL,
    size        INTEGER NOT NULL,
    body        BLOB    NOT NULL,
    utf8        INTEGER NOT NULL,
    require_tls INTEGER NOT NULL,
    ret         BLOB    NOT NULL,
    envelope_id BLOB    NOT NULL,
    upload      TEXT    NOT NULL COLLATE BINARY,
    content     BLOB    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX {mails}_of_tenant ON {mails} (tenant, id);

-- The column ready is when a delivery can be leased: when it is due and its
-- lease has ended. Of a held delivery it is the largest number there is.

CREATE TABLE {deliveries} (
    mail         TEXT    NOT NULL COLLATE BINARY,
    n            INTEGER NOT NULL,
    recipient    BLOB    NOT NULL,
    notify       BLOB    NOT NULL,
    original     BLOB    NOT NULL,
    lease        INTEGER NOT NULL,
    leased_until INTEGER NOT NULL,
    next         INTEGER NOT NULL,
    ready        INTEGER NOT NULL,
    attempts     INTEGER NOT NULL,
    warned       INTEGER NOT NULL,
    reason       BLOB    NOT NULL,
    PRIMARY KEY (mail, n)
) STRICT, WITHOUT ROWID;

CREATE INDEX {deliveries}_ready ON {deliveries} (ready);

CREATE TABLE {contents} (
    upload  TEXT    NOT NULL COLLATE BINARY,
    n       INTEGER NOT NULL,
    content BLOB    NOT NULL,
    PRIMARY KEY (upload, n)
) STRICT, WITHOUT ROWID;

-- Contents whose mail isn't there yet: what is old here was left by a crash.
CREATE TABLE {uploads} (
    upload  TEXT    NOT NULL PRIMARY KEY COLLATE BINARY,
    started INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The sum is the number of deliveries. There is more than one row so that
-- transactions don't wait for each other.
CREATE TABLE {counts} (
    slot       INTEGER NOT NULL PRIMARY KEY,
    deliveries INTEGER NOT NULL
) STRICT;

INSERT INTO {counts} (slot, deliveries) VALUES
    (0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0), (7, 0);
