-- Several tenants may have a domain of one name, if they only claim it: owned is the
-- name, or NULL of a claim. Setups are how domains are
-- authenticated. Times are as in 0001.

CREATE TABLE {domains}_6 (
    name    TEXT   NOT NULL COLLATE BINARY,
    tenant  TEXT   NOT NULL COLLATE BINARY,
    created BIGINT NOT NULL,
    owned   TEXT   COLLATE BINARY UNIQUE,
    PRIMARY KEY (name, tenant)
) WITHOUT ROWID;

INSERT INTO {domains}_6 SELECT name, tenant, created, name FROM {domains};
DROP TABLE {domains};
ALTER TABLE {domains}_6 RENAME TO {domains};
CREATE INDEX {domains}_of_tenant ON {domains} (tenant, name);

CREATE TABLE {setups} (
    domain  TEXT    NOT NULL COLLATE BINARY,
    tenant  TEXT    NOT NULL COLLATE BINARY,
    added   INTEGER NOT NULL,
    token   TEXT    NOT NULL,
    state   TEXT    NOT NULL,
    told    TEXT    NOT NULL,
    holds   INTEGER NOT NULL,
    since   INTEGER NOT NULL,
    checked INTEGER NOT NULL,
    next    INTEGER NOT NULL,
    secrets BLOB    NOT NULL,
    found   BLOB    NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (domain, tenant, added)
) STRICT, WITHOUT ROWID;

CREATE INDEX {setups}_of_next ON {setups} (next);
