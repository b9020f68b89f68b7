// Package production tests the program examples/production as a process: with
// PostgreSQL, an upstream server, signals, outages and new certificates. It has
// nothing to import.
//
// It needs the Debian package postgresql. Without it the tests are skipped, or
// fail if the environment has REQUIRE_SERVICES=1.
package production
