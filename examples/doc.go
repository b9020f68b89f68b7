// Package examples holds programs that embed gatepost; each folder is one. Read
// them in this order:
//
//   - hello is the shortest: everything in memory, and each message is printed.
//   - product is the shortest that loses no mail: relay, queue and console in one
//     process, on SQLite or PostgreSQL.
//   - quickstart is a relay to try: it makes a certificate and a user, and prints a
//     command that sends. With -upstream it queues mail across outages.
//   - saas is a small product that embeds every part of the console: two customers sign
//     in and manage all of their mail, and an operator sees the queue.
//   - production takes its settings from the environment, uses PostgreSQL, and
//     renews its certificate without a restart.
//   - mta is a whole sending server on one machine: SQLite, DKIM signatures,
//     delivery to the recipients' own hosts.
//   - bounces receives the reports of late bounces, on port 25.
//   - customstore implements package store on another database, and tests it.
//   - metrics is a Grafana dashboard of package relay/metrics.
//   - opentelemetry passes counts to OpenTelemetry. It is a module of its own.
//   - s3contents keeps large contents in object storage.
//
// They are a module of their own, so that drivers are not requirements of the
// library. Their tests with databases and mail programs are in
// internal/integration.
package examples
