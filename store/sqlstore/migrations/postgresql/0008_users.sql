-- Why a domain or a user may not send: suspended, empty if it may. Older programs
-- do not read the columns, and their rows get the defaults.

ALTER TABLE {domains} ADD COLUMN suspended TEXT NOT NULL DEFAULT '';
ALTER TABLE {users} ADD COLUMN suspended TEXT NOT NULL DEFAULT '';
