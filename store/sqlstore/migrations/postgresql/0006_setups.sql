-- Several tenants may have a domain of one name, if they only claim it: owned is the
-- name, or NULL of a claim. Setups are how domains are
-- authenticated. Times are as in 0001.

ALTER TABLE {domains} DROP CONSTRAINT {domains}_pkey, ADD PRIMARY KEY (name, tenant), ADD COLUMN owned TEXT COLLATE "C";
UPDATE {domains} SET owned = name;
CREATE UNIQUE INDEX {domains}_of_owner ON {domains} (owned);

CREATE TABLE {setups} (
    domain  TEXT   NOT NULL COLLATE "C",
    tenant  TEXT   NOT NULL COLLATE "C",
    added   BIGINT NOT NULL,
    token   TEXT   NOT NULL,
    state   TEXT   NOT NULL,
    told    TEXT   NOT NULL,
    holds   BIGINT NOT NULL,
    since   BIGINT NOT NULL,
    checked BIGINT NOT NULL,
    next    BIGINT NOT NULL,
    secrets BYTEA  NOT NULL,
    found   BYTEA  NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (domain, tenant, added)
);

CREATE INDEX {setups}_of_next ON {setups} (next);
