-- The addresses that tenants do not send to, and what is known of others. Times are
-- as in 0001.

CREATE TABLE {suppressions} (
    tenant  TEXT   NOT NULL COLLATE "C",
    address TEXT   NOT NULL COLLATE "C",
    source  BIGINT NOT NULL,
    since   BIGINT NOT NULL,
    until   BIGINT NOT NULL,
    reason  BYTEA  NOT NULL,
    site    BYTEA  NOT NULL,
    event   BYTEA  NOT NULL,
    strikes BIGINT NOT NULL,
    struck  BIGINT NOT NULL,
    cleared BIGINT NOT NULL,
    changed BIGINT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (tenant, address)
);

CREATE INDEX {suppressions}_of_changed ON {suppressions} (tenant, changed);
CREATE INDEX {suppressions}_of_until ON {suppressions} (until);
