// Package conformance runs the suite of package storetest against every store
// that comes with gatepost, on every database and driver it is tested with, and
// measures how much mail a relay accepts and delivers with them. It has nothing to
// import: it lives here because the drivers do.
//
// A short run has one driver for each database. A long run has all drivers, and the
// parameters of drivers that change how a database compares, counts or isolates. Two
// things do not run everywhere. The largest cases of the spool and of history run with
// every driver, and not again with its parameters. The suites over a single connection,
// and those with contents in a directory, run with one driver for each database.
package conformance
