-- As in 0001 each statement can be run again, and times and text are alike.
--
-- A content that is too large to be kept in the mail's row is in the table of
-- contents, under the name in the column upload.

CREATE TABLE IF NOT EXISTS {mails} (
    id          VARBINARY(64)   NOT NULL PRIMARY KEY,
    tenant      VARBINARY(255)  NOT NULL,
    domain      VARBINARY(1024) NOT NULL,
    username    VARBINARY(1024) NOT NULL,
    sender      VARBINARY(1024) NOT NULL,
    remote      VARBINARY(255)  NOT NULL,
    received    BIGINT          NOT NULL,
    size        BIGINT          NOT NULL,
    body        VARBINARY(1024) NOT NULL,
    utf8        BIGINT          NOT NULL,
    require_tls BIGINT          NOT NULL,
    ret         VARBINARY(1024) NOT NULL,
    envelope_id VARBINARY(1024) NOT NULL,
    upload      VARBINARY(255)  NOT NULL,
    content     MEDIUMBLOB      NOT NULL,
    INDEX of_tenant (tenant, id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- The column ready is when a delivery can be leased: when it is due and its
-- lease has ended. Of a held delivery it is the largest number there is.

CREATE TABLE IF NOT EXISTS {deliveries} (
    mail         VARBINARY(64)   NOT NULL,
    n            BIGINT          NOT NULL,
    recipient    VARBINARY(1024) NOT NULL,
    notify       VARBINARY(1024) NOT NULL,
    original     VARBINARY(1024) NOT NULL,
    lease        BIGINT          NOT NULL,
    leased_until BIGINT          NOT NULL,
    next         BIGINT          NOT NULL,
    ready        BIGINT          NOT NULL,
    attempts     BIGINT          NOT NULL,
    warned       BIGINT          NOT NULL,
    reason       BLOB            NOT NULL,
    PRIMARY KEY (mail, n),
    INDEX of_ready (ready)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

CREATE TABLE IF NOT EXISTS {contents} (
    upload  VARBINARY(255) NOT NULL,
    n       BIGINT         NOT NULL,
    content MEDIUMBLOB     NOT NULL,
    PRIMARY KEY (upload, n)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- Contents whose mail isn't there yet: what is old here was left by a crash.
CREATE TABLE IF NOT EXISTS {uploads} (
    upload  VARBINARY(255) NOT NULL PRIMARY KEY,
    started BIGINT         NOT NULL
) ENGINE = InnoDB;

-- The sum is the number of deliveries. There is more than one row so that
-- transactions don't wait for each other.
CREATE TABLE IF NOT EXISTS {counts} (
    slot       BIGINT NOT NULL PRIMARY KEY,
    deliveries BIGINT NOT NULL
) ENGINE = InnoDB;

INSERT IGNORE INTO {counts} (slot, deliveries) VALUES
    (0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0), (7, 0);
