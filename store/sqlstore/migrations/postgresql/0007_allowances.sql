-- How much of limits is used, and what nodes hold of them. Times are as in 0001.

CREATE TABLE {usages} (
    scope       TEXT   NOT NULL COLLATE "C",
    period      BIGINT NOT NULL,
    used        BIGINT NOT NULL,
    noticed     BIGINT NOT NULL,
    noticed_max BIGINT NOT NULL,
    PRIMARY KEY (scope, period)
);

CREATE TABLE {grants} (
    id     TEXT   NOT NULL COLLATE "C" PRIMARY KEY,
    scope  TEXT   NOT NULL COLLATE "C",
    period BIGINT NOT NULL,
    amount BIGINT NOT NULL,
    until  BIGINT NOT NULL
);

CREATE INDEX {grants}_of_usage ON {grants} (scope, period);
