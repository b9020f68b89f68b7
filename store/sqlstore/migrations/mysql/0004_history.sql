-- A record of events is a row of {deliveries} as well, so that a Put stays one
-- INSERT. Its mail is '~' and the record's ID, '~~' and the ID once it was set
-- aside; no mail has such an ID. Its n is 0, its list is NULL, its recipients is
-- the number of events, and its content is the events.
--
-- As in 0001 each statement can be run again, and times and text are alike.
--
-- The column day is received as a number of days, so that old rows are at the
-- beginning of an index. The column folded is a hash of the tenant and the
-- recipient in lower case, 0 if there is no recipient. The rows lie in the order in
-- which they came.

CREATE TABLE IF NOT EXISTS {activities} (
    id         BIGINT          NOT NULL PRIMARY KEY AUTO_INCREMENT,
    mail       VARBINARY(64)   NOT NULL,
    tenant     VARBINARY(255)  NOT NULL,
    n          BIGINT          NOT NULL,
    day        BIGINT          NOT NULL,
    folded     BIGINT          NOT NULL,
    received   BIGINT          NOT NULL,
    domain     VARBINARY(1024) NOT NULL,
    username   VARBINARY(1024) NOT NULL,
    state      BIGINT          NOT NULL,
    ord        BIGINT          NOT NULL,
    updated    BIGINT          NOT NULL,
    attempt    BIGINT          NOT NULL,
    code       BIGINT          NOT NULL,
    size       BIGINT          NOT NULL,
    times      BIGINT          NOT NULL,
    erased     BIGINT          NOT NULL,
    sender     BLOB            NOT NULL,
    author     BLOB            NOT NULL,
    recipient  BLOB            NOT NULL,
    subject    BLOB            NOT NULL,
    message_id BLOB            NOT NULL,
    enhanced   BLOB            NOT NULL,
    said       BLOB            NOT NULL,
    host       BLOB            NOT NULL,
    field      BLOB            NOT NULL,
    reason     BLOB            NOT NULL,
    trail      MEDIUMBLOB      NOT NULL,
    UNIQUE INDEX of_mail (mail, tenant, n),
    INDEX of_tenant (tenant, received),
    INDEX of_day (day, folded)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

CREATE TABLE IF NOT EXISTS {counts} (
    tenant    VARBINARY(255)  NOT NULL,
    hour      BIGINT          NOT NULL,
    domain    VARBINARY(1024) NOT NULL,
    username  VARBINARY(1024) NOT NULL,
    accepted  BIGINT          NOT NULL,
    delivered BIGINT          NOT NULL,
    deferred  BIGINT          NOT NULL,
    soft      BIGINT          NOT NULL,
    hard      BIGINT          NOT NULL,
    rejected  BIGINT          NOT NULL,
    canceled  BIGINT          NOT NULL,
    bytes     BIGINT          NOT NULL,
    PRIMARY KEY (tenant, hour, domain, username),
    INDEX of_hour (hour)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- Who does a piece of work, and until when.
CREATE TABLE IF NOT EXISTS {claims} (
    work  VARBINARY(255)  NOT NULL PRIMARY KEY,
    who   VARBINARY(255)  NOT NULL,
    until BIGINT          NOT NULL
) ENGINE = InnoDB;
