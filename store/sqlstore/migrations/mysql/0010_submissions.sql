-- The keys of mails, and with which mail each was kept. Times are as in 0001.
--
-- As in 0001 each statement can be run again.

CREATE TABLE IF NOT EXISTS {submissions} (
    username    VARBINARY(1024) NOT NULL,
    submission  VARBINARY(1024) NOT NULL,
    mail        VARBINARY(64) NOT NULL,
    fingerprint VARBINARY(1024) NOT NULL,
    until       BIGINT NOT NULL,
    PRIMARY KEY (username, submission),
    INDEX of_until (until)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;
