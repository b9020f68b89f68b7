-- A column that is added behind the content could only be read through the
-- content, so the table is made anew, with the content last.
--
-- The column lane is '=', the destination, the character 1 and the tenant. The
-- column list says what happens to a delivery next: the lane of one that waits,
-- '@' and its deaths if nodes died with it, '*' and the node that has leased it,
-- '!' if it is held. It is NULL if the delivery is settled and the row stays for
-- its mail's sake. The index of lists is all that Lease reads.
--
-- The column digest is compared when a mail of the same ID is put again.
-- submission is not used yet.

CREATE TABLE {deliveries}_new (
    mail         TEXT    NOT NULL COLLATE BINARY,
    n            INTEGER NOT NULL,
    tenant       TEXT    NOT NULL COLLATE BINARY,
    recipient    BLOB    NOT NULL,
    notify       BLOB    NOT NULL,
    original     BLOB    NOT NULL,
    lane         TEXT    NOT NULL COLLATE BINARY,
    list         TEXT    COLLATE BINARY,
    lease        INTEGER NOT NULL,
    next         INTEGER NOT NULL,
    tried        INTEGER NOT NULL,
    attempts     INTEGER NOT NULL,
    deaths       INTEGER NOT NULL,
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
    notice       INTEGER,
    submission   BLOB,
    digest       INTEGER,
    upload       TEXT    COLLATE BINARY,
    content      BLOB,
    PRIMARY KEY (mail, n)
) STRICT;

INSERT INTO {deliveries}_new
    SELECT mail, n, tenant, recipient, notify, original, '=' || char(1) || tenant,
        CASE ready WHEN 9223372036854775807 THEN '!' WHEN ready THEN '=' || char(1) || tenant END,
        lease, CASE WHEN ready < 9223372036854775807 THEN ready ELSE next END, -62135596800000000, attempts, 0, warned, reason,
        recipients, domain, username, sender, remote, received, size, body, utf8, require_tls, ret, envelope_id,
        0, NULL, NULL, upload, content
    FROM {deliveries};

DROP TABLE {deliveries};

ALTER TABLE {deliveries}_new RENAME TO {deliveries};

CREATE INDEX {deliveries}_of_list ON {deliveries} (list, next) WHERE list IS NOT NULL;
CREATE INDEX {deliveries}_of_tenant ON {deliveries} (tenant, mail, n);

CREATE TABLE {nodes} (
    id   TEXT    NOT NULL PRIMARY KEY COLLATE BINARY,
    name TEXT    NOT NULL COLLATE BINARY,
    beat INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The column tenant is 1 if name is a tenant, and 0 if it is a destination.
CREATE TABLE {suspensions} (
    tenant   INTEGER NOT NULL,
    name     TEXT    NOT NULL COLLATE BINARY,
    person   BLOB    NOT NULL,
    reason   BLOB    NOT NULL,
    since    INTEGER NOT NULL,
    until    INTEGER NOT NULL,
    tried    INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    version  INTEGER NOT NULL,
    PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;

-- The least version of this package that can work with the tables.
ALTER TABLE {schema} ADD COLUMN needs INTEGER NOT NULL DEFAULT 0;
