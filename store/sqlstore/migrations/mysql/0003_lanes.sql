-- The column lane is '=', the destination, the character 1 and the tenant. The
-- column list says what happens to a delivery next: the lane of one that waits,
-- '@' and its deaths if nodes died with it, '*' and the node that has leased it,
-- '!' if it is held. It is NULL if the delivery is settled and the row stays for
-- its mail's sake. The index of lists is all that Lease reads.
--
-- The column digest is compared when a mail of the same ID is put again.
-- submission is not used yet.
--
-- A migration that was cut short is run again. Then the errors that a column or
-- an index is there already, or is gone, are ignored.

ALTER TABLE {deliveries}
    ADD COLUMN lane       VARBINARY(600) NOT NULL DEFAULT '',
    ADD COLUMN list       VARBINARY(600),
    ADD COLUMN tried      BIGINT NOT NULL DEFAULT -62135596800000000,
    ADD COLUMN deaths     BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN notice     BIGINT,
    ADD COLUMN submission BLOB,
    ADD COLUMN digest     BIGINT;

UPDATE {deliveries} SET
    lane = CONCAT('=', CHAR(1), tenant),
    list = CASE WHEN ready = 9223372036854775807 THEN '!' WHEN ready IS NOT NULL THEN CONCAT('=', CHAR(1), tenant) END,
    next = CASE WHEN ready < 9223372036854775807 THEN ready ELSE next END,
    notice = 0;

ALTER TABLE {deliveries}
    DROP INDEX of_ready,
    DROP COLUMN ready,
    DROP COLUMN leased_until,
    ADD INDEX of_list (list, next);

CREATE TABLE IF NOT EXISTS {nodes} (
    id   VARBINARY(64)  NOT NULL PRIMARY KEY,
    name VARBINARY(255) NOT NULL,
    beat BIGINT         NOT NULL
) ENGINE = InnoDB;

-- The column tenant is 1 if name is a tenant, and 0 if it is a destination.
CREATE TABLE IF NOT EXISTS {suspensions} (
    tenant   BIGINT          NOT NULL,
    name     VARBINARY(255)  NOT NULL,
    person   VARBINARY(1024) NOT NULL,
    reason   BLOB            NOT NULL,
    since    BIGINT          NOT NULL,
    until    BIGINT          NOT NULL,
    tried    BIGINT          NOT NULL,
    failures BIGINT          NOT NULL,
    version  BIGINT          NOT NULL,
    PRIMARY KEY (tenant, name)
) ENGINE = InnoDB;

-- The least version of this package that can work with the tables.
ALTER TABLE {schema} ADD COLUMN needs INTEGER NOT NULL DEFAULT 0;
