-- Endpoints of webhooks, and the last requests to each. Times are as in 0001, took is
-- in microseconds.
--
-- As in 0001 each statement can be run again.

CREATE TABLE IF NOT EXISTS {endpoints} (
    tenant    VARBINARY(255)  NOT NULL,
    id        VARBINARY(255)  NOT NULL,
    slot      BIGINT          NOT NULL,
    created   BIGINT          NOT NULL,
    types     VARBINARY(1024) NOT NULL,
    sealed    MEDIUMBLOB      NOT NULL,
    off       VARBINARY(1024) NOT NULL,
    off_since BIGINT          NOT NULL,
    failing   BIGINT          NOT NULL,
    version   BIGINT          NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE INDEX of_slot (tenant, slot)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

CREATE TABLE IF NOT EXISTS {endpoint_attempts} (
    tenant   VARBINARY(255)  NOT NULL,
    endpoint VARBINARY(255)  NOT NULL,
    id       VARBINARY(255)  NOT NULL,
    at       BIGINT          NOT NULL,
    took     BIGINT          NOT NULL,
    event    VARBINARY(1024) NOT NULL,
    type     VARBINARY(1024) NOT NULL,
    attempt  BIGINT          NOT NULL,
    status   BIGINT          NOT NULL,
    reason   VARBINARY(1024) NOT NULL,
    PRIMARY KEY (tenant, endpoint, id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;
