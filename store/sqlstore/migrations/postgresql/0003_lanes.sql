-- The column lane is '=', the destination, the character 1 and the tenant. The
-- column list says what happens to a delivery next: the lane of one that waits,
-- '@' and its deaths if nodes died with it, '*' and the node that has leased it,
-- '!' if it is held. It is NULL if the delivery is settled and the row stays for
-- its mail's sake. The index of lists is all that Lease reads.
--
-- The column digest is compared when a mail of the same ID is put again.
-- submission is not used yet.

ALTER TABLE {deliveries}
    ADD COLUMN lane       TEXT   NOT NULL COLLATE "C" DEFAULT '',
    ADD COLUMN list       TEXT   COLLATE "C",
    ADD COLUMN tried      BIGINT NOT NULL DEFAULT -62135596800000000,
    ADD COLUMN deaths     BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN notice     BIGINT,
    ADD COLUMN submission BYTEA,
    ADD COLUMN digest     BIGINT;

UPDATE {deliveries} SET
    lane = '=' || chr(1) || tenant,
    list = CASE WHEN ready = 9223372036854775807 THEN '!' WHEN ready IS NOT NULL THEN '=' || chr(1) || tenant END,
    next = CASE WHEN ready < 9223372036854775807 THEN ready ELSE next END,
    notice = 0;

ALTER TABLE {deliveries} DROP COLUMN ready, DROP COLUMN leased_until;

CREATE INDEX {deliveries}_of_list ON {deliveries} (list, next) WHERE list IS NOT NULL;

CREATE TABLE {nodes} (
    id   TEXT   NOT NULL COLLATE "C" PRIMARY KEY,
    name TEXT   NOT NULL COLLATE "C",
    beat BIGINT NOT NULL
);

-- The column tenant is 1 if name is a tenant, and 0 if it is a destination.
CREATE TABLE {suspensions} (
    tenant   BIGINT NOT NULL,
    name     TEXT   NOT NULL COLLATE "C",
    person   BYTEA  NOT NULL,
    reason   BYTEA  NOT NULL,
    since    BIGINT NOT NULL,
    until    BIGINT NOT NULL,
    tried    BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    version  BIGINT NOT NULL,
    PRIMARY KEY (tenant, name)
);

-- The least version of this package that can work with the tables.
ALTER TABLE {schema} ADD COLUMN needs INTEGER NOT NULL DEFAULT 0;
