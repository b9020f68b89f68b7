-- Several tenants may have a domain of one name, if they only claim it: owned is the
-- name, or NULL of a claim. Setups are how domains are
-- authenticated. Times are as in 0001.
--
-- As in 0001 each statement can be run again.

ALTER TABLE {domains} DROP PRIMARY KEY, ADD PRIMARY KEY (name, tenant);
ALTER TABLE {domains} ADD COLUMN owned VARBINARY(255);
UPDATE {domains} SET owned = name;
ALTER TABLE {domains} ADD UNIQUE INDEX of_owner (owned);

CREATE TABLE IF NOT EXISTS {setups} (
    domain  VARBINARY(255) NOT NULL,
    tenant  VARBINARY(255) NOT NULL,
    added   BIGINT         NOT NULL,
    token   VARBINARY(255) NOT NULL,
    state   VARBINARY(255) NOT NULL,
    told    VARBINARY(255) NOT NULL,
    holds   BIGINT         NOT NULL,
    since   BIGINT         NOT NULL,
    checked BIGINT         NOT NULL,
    next    BIGINT         NOT NULL,
    secrets MEDIUMBLOB     NOT NULL,
    found   MEDIUMBLOB     NOT NULL,
    version BIGINT         NOT NULL,
    PRIMARY KEY (domain, tenant, added),
    INDEX of_next (next)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;
