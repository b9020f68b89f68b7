package services

import (
	"os"
	"testing"
)

// Program returns the path of a program that is in PATH or in one of the
// directories, which may be patterns. It ends the test if there is none.
func Program(t testing.TB, name string, dirs ...string) string {
	t.Helper()
	path, err := find(name, dirs...)
	if err != nil {
		Missing(t, err)
	}
	return path
}

// Missing ends a test that lacks something of the machine it runs on: the test
// is skipped, or fails if the environment has REQUIRE_SERVICES=1.
func Missing(t testing.TB, why error) {
	t.Helper()
	if os.Getenv("REQUIRE_SERVICES") == "1" {
		t.Fatal(why)
		return // for a testing.TB whose Fatal returns
	}
	t.Skip(why)
}

// Long reports whether slow tests run: if the environment has GATEPOST_LONG=1.
// The others cover every promise with one driver for each database.
func Long() bool { return os.Getenv("GATEPOST_LONG") == "1" }

// OnlyLong skips a test unless slow tests run.
func OnlyLong(t testing.TB) {
	t.Helper()
	if !Long() {
		t.Skip("slow; GATEPOST_LONG=1 runs it")
	}
}
