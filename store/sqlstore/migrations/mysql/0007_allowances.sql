-- How much of limits is used, and what nodes hold of them. Times are as in 0001.
--
-- As in 0001 each statement can be run again.

CREATE TABLE IF NOT EXISTS {usages} (
    scope       VARBINARY(1024) NOT NULL,
    period      BIGINT          NOT NULL,
    used        BIGINT          NOT NULL,
    noticed     BIGINT          NOT NULL,
    noticed_max BIGINT          NOT NULL,
    PRIMARY KEY (scope, period)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

CREATE TABLE IF NOT EXISTS {grants} (
    id     VARBINARY(64)   NOT NULL PRIMARY KEY,
    scope  VARBINARY(1024) NOT NULL,
    period BIGINT          NOT NULL,
    amount BIGINT          NOT NULL,
    until  BIGINT          NOT NULL,
    INDEX of_usage (scope, period)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;
