-- Lists are sorted by sort_name, in which package credentials has folded the name. Users
-- that there are, and those that older programs add, have none and come first, until
-- package credentials lists them.

-- As in 0008.
LOCK TABLE {users}, {domains} IN ACCESS EXCLUSIVE MODE;

ALTER TABLE {domains} ADD COLUMN sort_name TEXT NOT NULL DEFAULT '' COLLATE "C";
UPDATE {domains} SET sort_name = name;
CREATE INDEX {domains}_of_name ON {domains} (tenant, sort_name, name);
DROP INDEX {domains}_of_tenant;

ALTER TABLE {users} ADD COLUMN sort_name TEXT NOT NULL DEFAULT '' COLLATE "C";
CREATE INDEX {users}_of_name ON {users} (tenant, domain, sort_name, username);
CREATE INDEX {users}_of_connection ON {users} (tenant, domain, last_connection, username);
DROP INDEX {users}_of_domain;

-- A row is locked while a domain is added to a tenant that has a limit.
CREATE TABLE {tenants} (
    tenant TEXT   NOT NULL COLLATE "C" PRIMARY KEY,
    locks  BIGINT NOT NULL
);
