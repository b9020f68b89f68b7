// Package chaos breaks what a relay stands on, and sees what becomes of the mail
// that the relay has answered with 250: the process is killed, again and again;
// the power is cut; the database goes away, stalls, or its clock jumps; a node of
// several dies; the disk fills up; the upstream misbehaves in every way; rows of the
// spool are damaged by hand.
//
// Each test runs relays in processes of their own: the test binary, started again.
// They keep their mail in SQLite, PostgreSQL or MariaDB and hand it to a sink in
// the process of the test, which also sends the load and keeps its own record of
// every message that got its 250. Each message has a token of its own, in its
// Subject and in its recipients' addresses.
//
// A test whose database isn't installed is skipped, and so are those of the full
// disk and of power cuts where their file systems can't be mounted, which takes
// Linux and root; with REQUIRE_SERVICES=1 in the environment they fail instead.
package chaos
