// Package throughput measures how much mail a relay with a queue accepts and
// delivers, on every database. It has nothing to import: it lives here because
// the drivers do.
package throughput
