-- Lists are sorted by sort_name, in which package credentials has folded the name. Users
-- that there are, and those that older programs add, have none and come first, until
-- package credentials lists them.
--
-- As in 0001 each statement can be run again.

ALTER TABLE {domains} ADD COLUMN sort_name VARBINARY(1024) NOT NULL DEFAULT '';
UPDATE {domains} SET sort_name = name WHERE sort_name = '';
ALTER TABLE {domains} ADD INDEX of_name (tenant, sort_name, name);
ALTER TABLE {domains} DROP INDEX of_tenant;

ALTER TABLE {users} ADD COLUMN sort_name VARBINARY(1024) NOT NULL DEFAULT '';
ALTER TABLE {users} ADD INDEX of_name (tenant, domain, sort_name, username);
ALTER TABLE {users} ADD INDEX of_connection (tenant, domain, last_connection, username);
ALTER TABLE {users} DROP INDEX of_domain;

-- A row is locked while a domain is added to a tenant that has a limit.
CREATE TABLE IF NOT EXISTS {tenants} (
    tenant VARBINARY(255) NOT NULL PRIMARY KEY,
    locks  BIGINT         NOT NULL
) ENGINE = InnoDB;
