-- Endpoints of webhooks, and the last requests to each. Times are as in 0001, took is
-- in microseconds.

CREATE TABLE {endpoints} (
    tenant    TEXT   NOT NULL COLLATE "C",
    id        TEXT   NOT NULL COLLATE "C",
    slot      BIGINT NOT NULL,
    created   BIGINT NOT NULL,
    types     BYTEA  NOT NULL,
    sealed    BYTEA  NOT NULL,
    off       BYTEA  NOT NULL,
    off_since BIGINT NOT NULL,
    failing   BIGINT NOT NULL,
    version   BIGINT NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, slot)
);

CREATE TABLE {endpoint_attempts} (
    tenant   TEXT   NOT NULL COLLATE "C",
    endpoint TEXT   NOT NULL COLLATE "C",
    id       TEXT   NOT NULL COLLATE "C",
    at       BIGINT NOT NULL,
    took     BIGINT NOT NULL,
    event    BYTEA  NOT NULL,
    type     BYTEA  NOT NULL,
    attempt  BIGINT NOT NULL,
    status   BIGINT NOT NULL,
    reason   BYTEA  NOT NULL,
    PRIMARY KEY (tenant, endpoint, id)
);
