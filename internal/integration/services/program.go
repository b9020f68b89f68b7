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
