-- The addresses that tenants do not send to, and what is known of others. Times are
-- as in 0001.
--
-- As in 0001 each statement can be run again.

CREATE TABLE IF NOT EXISTS {suppressions} (
    tenant  VARBINARY(255)  NOT NULL,
    address VARBINARY(255)  NOT NULL,
    source  BIGINT          NOT NULL,
    since   BIGINT          NOT NULL,
    until   BIGINT          NOT NULL,
    reason  BLOB            NOT NULL,
    site    VARBINARY(1024) NOT NULL,
    event   VARBINARY(1024) NOT NULL,
    strikes BIGINT          NOT NULL,
    struck  BIGINT          NOT NULL,
    cleared BIGINT          NOT NULL,
    changed BIGINT          NOT NULL,
    version BIGINT          NOT NULL,
    PRIMARY KEY (tenant, address),
    INDEX of_changed (tenant, changed),
    INDEX of_until (until)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;
