// Package webhooks sends webhooks in processes that are killed, and has the
// libraries of Standard Webhooks verify them.
//
// The library for Node is fetched with npm, in the version of package-lock.json. A
// test whose program or database is not installed is skipped, or fails if the
// environment has REQUIRE_SERVICES=1.
package webhooks
