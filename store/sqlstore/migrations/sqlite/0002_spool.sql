-- Text that may hold any bytes is a BLOB. Times are as in 0001.
--
-- One row for each recipient of a mail that isn't settled. The first of a mail,
-- whose n is 0, has the mail as well, in the columns from recipients on, and
-- stays until all others are settled. So a Put is one INSERT, and one row is all
-- that most mails are.
--
-- The column ready is when a delivery can be leased: when it is due and its
-- lease has ended. Of a held delivery it is the largest number there is, and of
-- one that is settled and stays for its mail's sake it is NULL.
--
-- A content that is too large to be kept in the row is in the table of contents, or
-- outside the database, under the name in the column upload. The names of those in
-- the table have a dot.
-- The columns of the mail come before its content, so that reading them never
-- touches the pages of the content.

CREATE TABLE {deliveries} (
    mail         TEXT    NOT NULL COLLATE BINARY,
    n            INTEGER NOT NULL,
    tenant       TEXT    NOT NULL COLLATE BINARY,
    recipient    BLOB    NOT NULL,
    notify       BLOB    NOT NULL,
    original     BLOB    NOT NULL,
    lease        INTEGER NOT NULL,
    leased_until INTEGER NOT NULL,
    next         INTEGER NOT NULL,
    ready        INTEGER,
    attempts     INTEGER NOT NULL,
    warned       INTEGER NOT NULL,
    reason       BLOB    NOT NULL,
    recipients   INTEGER,
    domain       BLOB,
    username     BLOB,
    sender       BLOB,
    remote       TEXT,
    received     INTEGER,
    size         INTEGER,
    body         BLOB,
    utf8         INTEGER,
    require_tls  INTEGER,
    ret          BLOB,
    envelope_id  BLOB,
    upload       TEXT    COLLATE BINARY,
    content      BLOB,
    PRIMARY KEY (mail, n)
) STRICT;

CREATE INDEX {deliveries}_ready ON {deliveries} (ready) WHERE ready IS NOT NULL;
CREATE INDEX {deliveries}_of_tenant ON {deliveries} (tenant, mail, n);

CREATE TABLE {contents} (
    upload  TEXT    NOT NULL COLLATE BINARY,
    n       INTEGER NOT NULL,
    content BLOB    NOT NULL,
    PRIMARY KEY (upload, n)
) STRICT, WITHOUT ROWID;

-- The names of contents that have no mail: of those that are being kept, and, with
-- a started of 0, of those that are to be removed. What is old here was left by a
-- crash.
CREATE TABLE {uploads} (
    upload  TEXT    NOT NULL PRIMARY KEY COLLATE BINARY,
    started INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
