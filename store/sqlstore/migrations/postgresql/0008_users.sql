-- Why a domain or a user may not send: suspended, empty if it may. Older programs
-- do not read the columns, and their rows get the defaults.

-- Look-ups read users, then domains: tables that are locked in another order would be
-- a deadlock.
LOCK TABLE {users}, {domains} IN ACCESS EXCLUSIVE MODE;

ALTER TABLE {domains} ADD COLUMN suspended TEXT NOT NULL DEFAULT '';
ALTER TABLE {users} ADD COLUMN suspended TEXT NOT NULL DEFAULT '';

-- While a rotation overlaps, old_generation is generation - 1, and old_hash is the
-- password before. A reset by an older program ends that: it raises generation only.
ALTER TABLE {users} ADD COLUMN old_hash TEXT NOT NULL DEFAULT '';
ALTER TABLE {users} ADD COLUMN old_generation BIGINT NOT NULL DEFAULT -1;
ALTER TABLE {users} ADD COLUMN old_until BIGINT NOT NULL DEFAULT -62135596800000000;
ALTER TABLE {users} ADD COLUMN old_connection BIGINT NOT NULL DEFAULT -62135596800000000;
ALTER TABLE {users} ADD COLUMN new_connection BIGINT NOT NULL DEFAULT -62135596800000000;

-- The networks that the user may log in from, separated by spaces; empty means all.
ALTER TABLE {users} ADD COLUMN networks TEXT NOT NULL DEFAULT '';
