-- The column next is when a deferred recipient is tried again, in microseconds since
-- 1970. 0 means that it is not known, or that there is no attempt.

ALTER TABLE {activities} ADD COLUMN next INTEGER NOT NULL DEFAULT 0;
