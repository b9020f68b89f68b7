-- Text that may hold any bytes is BYTEA. Times are as in 0001.
--
-- A content that is too large to be kept in the mail's row is in the table of
-- contents, under the name in the column upload. What is in the row is not
-- compressed: it isn't kept for long.

CREATE TABLE {mails} (
    id          TEXT   NOT NULL COLLATE "C" PRIMARY KEY,
    tenant      TEXT   NOT NULL COLLATE "C",
    domain      BYTEA  NOT NULL,
    username    BYTEA  NOT NULL,
    sender      BYTEA  NOT NULL,
    remote      TEXT   NOT NULL,
    received    BIGINT NOT NULL,
    size        BIGINT NOT NULL,
    body        BYTEA  NOT NULL,
    utf8        BIGINT NOT NULL,
    require_tls BIGINT NOT NULL,
    ret         BYTEA  NOT NULL,
    envelope_id BYTEA  NOT NULL,
    upload      TEXT   NOT NULL COLLATE "C",
    content     BYTEA  NOT NULL
);

ALTER TABLE {mails} ALTER COLUMN content SET STORAGE EXTERNAL;

CREATE INDEX {mails}_of_tenant ON {mails} (tenant, id);

-- The column ready is when a delivery can be leased: when it is due and its
-- lease has ended. Of a held delivery it is the largest number there is.

CREATE TABLE {deliveries} (
    mail         TEXT   NOT NULL COLLATE "C",
    n            BIGINT NOT NULL,
    recipient    BYTEA  NOT NULL,
    notify       BYTEA  NOT NULL,
    original     BYTEA  NOT NULL,
    lease        BIGINT NOT NULL,
    leased_until BIGINT NOT NULL,
    next         BIGINT NOT NULL,
    ready        BIGINT NOT NULL,
    attempts     BIGINT NOT NULL,
    warned       BIGINT NOT NULL,
    reason       BYTEA  NOT NULL,
    PRIMARY KEY (mail, n)
);

CREATE INDEX {deliveries}_ready ON {deliveries} (ready);

CREATE TABLE {contents} (
    upload  TEXT   NOT NULL COLLATE "C",
    n       BIGINT NOT NULL,
    content BYTEA  NOT NULL,
    PRIMARY KEY (upload, n)
);

ALTER TABLE {contents} ALTER COLUMN content SET STORAGE EXTERNAL;

-- Contents whose mail isn't there yet: what is old here was left by a crash.
CREATE TABLE {uploads} (
    upload  TEXT   NOT NULL COLLATE "C" PRIMARY KEY,
    started BIGINT NOT NULL
);

-- The sum is the number of deliveries. There is more than one row so that
-- transactions don't wait for each other.
CREATE TABLE {counts} (
    slot       BIGINT NOT NULL PRIMARY KEY,
    deliveries BIGINT NOT NULL
);

INSERT INTO {counts} (slot, deliveries) VALUES
    (0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0), (7, 0);
