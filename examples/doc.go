// Package examples holds programs that embed gatepost; each folder is one.
//
//   - quickstart is a whole relay on a SQLite file, to try it: run it and send
//     a message. With -upstream it queues mail and hands it on, across outages
//     of that server and its own restarts; -queue lists what waits, and why.
//   - production is a relay as a product runs it: users and queue in PostgreSQL,
//     an upstream, certificates that are renewed, a graceful end, settings from
//     the environment.
//   - mta is a whole sending server on one machine: a queue in SQLite, DKIM
//     signatures, delivery to the recipients' own hosts.
//   - customstore is a store of one's own, and shows by its test that it keeps
//     the promises of package store.
//
// They are a module of their own, so that drivers are not requirements of the
// library. Their tests with databases and mail programs are in
// internal/integration.
package examples
