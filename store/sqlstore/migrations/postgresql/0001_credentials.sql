-- Times are microseconds since 1970 in UTC; "never" is -62135596800000000, the
-- zero time of Go, so that times compare without a special case.

CREATE TABLE {domains} (
    name    TEXT   NOT NULL COLLATE "C" PRIMARY KEY,
    tenant  TEXT   NOT NULL COLLATE "C",
    created BIGINT NOT NULL
);

CREATE INDEX {domains}_of_tenant ON {domains} (tenant, name);

CREATE TABLE {users} (
    username        TEXT   NOT NULL COLLATE "C" PRIMARY KEY,
    tenant          TEXT   NOT NULL COLLATE "C",
    domain          TEXT   NOT NULL COLLATE "C",
    name            TEXT   NOT NULL,
    hash            TEXT   NOT NULL,
    generation      BIGINT NOT NULL,
    created         BIGINT NOT NULL,
    password_set    BIGINT NOT NULL,
    last_connection BIGINT NOT NULL,
    last_from       TEXT   NOT NULL
);

CREATE INDEX {users}_of_domain ON {users} (domain, username);

-- Every username that was ever issued: it stays when the user is deleted.
CREATE TABLE {usernames} (
    username TEXT NOT NULL COLLATE "C" PRIMARY KEY
);
