//go:build race

package consoletest_test

// slowdown is what the race detector costs a SQLite that is written in Go.
const slowdown = 10
