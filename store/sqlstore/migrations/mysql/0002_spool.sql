-- As in 0001 each statement can be run again, and times and text are alike.
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

CREATE TABLE IF NOT EXISTS {deliveries} (
    mail         VARBINARY(64)   NOT NULL,
    n            BIGINT          NOT NULL,
    tenant       VARBINARY(255)  NOT NULL,
    recipient    VARBINARY(1024) NOT NULL,
    notify       VARBINARY(1024) NOT NULL,
    original     VARBINARY(1024) NOT NULL,
    lease        BIGINT          NOT NULL,
    leased_until BIGINT          NOT NULL,
    next         BIGINT          NOT NULL,
    ready        BIGINT,
    attempts     BIGINT          NOT NULL,
    warned       BIGINT          NOT NULL,
    reason       BLOB            NOT NULL,
    recipients   BIGINT,
    domain       VARBINARY(1024),
    username     VARBINARY(1024),
    sender       VARBINARY(1024),
    remote       VARBINARY(255),
    received     BIGINT,
    size         BIGINT,
    body         VARBINARY(1024),
    utf8         BIGINT,
    require_tls  BIGINT,
    ret          VARBINARY(1024),
    envelope_id  VARBINARY(1024),
    upload       VARBINARY(255),
    content      MEDIUMBLOB,
    PRIMARY KEY (mail, n),
    INDEX of_ready (ready),
    INDEX of_tenant (tenant, mail, n)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

CREATE TABLE IF NOT EXISTS {contents} (
    upload  VARBINARY(255) NOT NULL,
    n       BIGINT         NOT NULL,
    content MEDIUMBLOB     NOT NULL,
    PRIMARY KEY (upload, n)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- The names of contents that have no mail: of those that are being kept, and, with
-- a started of 0, of those that are to be removed. What is old here was left by a
-- crash.
CREATE TABLE IF NOT EXISTS {uploads} (
    upload  VARBINARY(255) NOT NULL PRIMARY KEY,
    started BIGINT         NOT NULL
) ENGINE = InnoDB;
