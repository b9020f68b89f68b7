-- Why a domain or a user may not send: suspended, empty if it may. Older programs
-- do not read the columns, and their rows get the defaults.
--
-- As in 0001 each statement can be run again.

ALTER TABLE {domains} ADD COLUMN suspended VARBINARY(1024) NOT NULL DEFAULT '';
ALTER TABLE {users} ADD COLUMN suspended VARBINARY(1024) NOT NULL DEFAULT '';
