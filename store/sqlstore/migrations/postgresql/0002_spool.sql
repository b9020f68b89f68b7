-- Text that may hold any bytes is BYTEA. Times are as in 0001.
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
-- What is in the row is not compressed: it isn't kept for long.

CREATE TABLE {deliveries} (
    mail         TEXT   NOT NULL COLLATE "C",
    n            BIGINT NOT NULL,
    tenant       TEXT   NOT NULL COLLATE "C",
    recipient    BYTEA  NOT NULL,
    notify       BYTEA  NOT NULL,
    original     BYTEA  NOT NULL,
    lease        BIGINT NOT NULL,
    leased_until BIGINT NOT NULL,
    next         BIGINT NOT NULL,
    ready        BIGINT,
    attempts     BIGINT NOT NULL,
    warned       BIGINT NOT NULL,
    reason       BYTEA  NOT NULL,
    recipients   BIGINT,
    domain       BYTEA,
    username     BYTEA,
    sender       BYTEA,
    remote       TEXT,
    received     BIGINT,
    size         BIGINT,
    body         BYTEA,
    utf8         BIGINT,
    require_tls  BIGINT,
    ret          BYTEA,
    envelope_id  BYTEA,
    upload       TEXT   COLLATE "C",
    content      BYTEA,
    PRIMARY KEY (mail, n)
);

ALTER TABLE {deliveries} ALTER COLUMN content SET STORAGE EXTERNAL;

CREATE INDEX {deliveries}_ready ON {deliveries} (ready) WHERE ready IS NOT NULL;
CREATE INDEX {deliveries}_of_tenant ON {deliveries} (tenant, mail, n);

CREATE TABLE {contents} (
    upload  TEXT   NOT NULL COLLATE "C",
    n       BIGINT NOT NULL,
    content BYTEA  NOT NULL,
    PRIMARY KEY (upload, n)
);

ALTER TABLE {contents} ALTER COLUMN content SET STORAGE EXTERNAL;

-- The names of contents that have no mail: of those that are being kept, and, with
-- a started of 0, of those that are to be removed. What is old here was left by a
-- crash.
CREATE TABLE {uploads} (
    upload  TEXT   NOT NULL COLLATE "C" PRIMARY KEY,
    started BIGINT NOT NULL
);
