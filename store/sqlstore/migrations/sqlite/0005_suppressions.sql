-- The addresses that tenants do not send to, and what is known of others. Times are
-- as in 0001.

CREATE TABLE {suppressions} (
    tenant  TEXT    NOT NULL COLLATE BINARY,
    address TEXT    NOT NULL COLLATE BINARY,
    source  INTEGER NOT NULL,
    since   INTEGER NOT NULL,
    until   INTEGER NOT NULL,
    reason  BLOB    NOT NULL,
    site    BLOB    NOT NULL,
    event   BLOB    NOT NULL,
    strikes INTEGER NOT NULL,
    struck  INTEGER NOT NULL,
    cleared INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (tenant, address)
) STRICT, WITHOUT ROWID;

CREATE INDEX {suppressions}_of_changed ON {suppressions} (tenant, changed);
CREATE INDEX {suppressions}_of_until ON {suppressions} (until);
