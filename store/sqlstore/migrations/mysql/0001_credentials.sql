-- DDL commits by itself on MySQL and MariaDB, so each statement can be run
-- again: a migration that was cut short is finished by the next.
--
-- Text is VARBINARY: every binary collation that both systems know pads with
-- spaces when it compares, so 'a' and 'a ' would be one key.
--
-- Times are microseconds since 1970 in UTC; "never" is -62135596800000000, the
-- zero time of Go, so that times compare without a special case.

CREATE TABLE IF NOT EXISTS {domains} (
    name    VARBINARY(255) NOT NULL PRIMARY KEY,
    tenant  VARBINARY(255) NOT NULL,
    created BIGINT         NOT NULL,
    INDEX of_tenant (tenant, name)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS {users} (
    username        VARBINARY(255)  NOT NULL PRIMARY KEY,
    tenant          VARBINARY(255)  NOT NULL,
    domain          VARBINARY(255)  NOT NULL,
    name            VARBINARY(1024) NOT NULL,
    hash            VARBINARY(1024) NOT NULL,
    generation      BIGINT          NOT NULL,
    created         BIGINT          NOT NULL,
    password_set    BIGINT          NOT NULL,
    last_connection BIGINT          NOT NULL,
    last_from       VARBINARY(255)  NOT NULL,
    INDEX of_domain (domain, username)
) ENGINE = InnoDB;

-- Every username that was ever issued: it stays when the user is deleted.
CREATE TABLE IF NOT EXISTS {usernames} (
    username VARBINARY(255) NOT NULL PRIMARY KEY
) ENGINE = InnoDB;
