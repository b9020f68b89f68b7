package smarthost_test

import (
	"flag"
	"os"
	"testing"
)

// TestMain lets 16 tests run beside each other unless -parallel says otherwise. The
// default is one for each processor, and the parallel tests here mostly wait for timers.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		flag.Set("test.parallel", "16")
	}
	os.Exit(m.Run())
}
