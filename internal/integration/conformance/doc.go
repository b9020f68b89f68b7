// Package conformance runs the suite of package storetest against every store
// that comes with gatepost, on every database and driver it is tested with, and
// measures how much mail a relay accepts and delivers with them. It has nothing to
// import: it lives here because the drivers do.
package conformance
