package main

import (
	"strings"
	"testing"
)

const output = `goos: linux
pkg: github.com/gatepost-mail/gatepost/relay
BenchmarkSubmission/lockstep-2         	    5000	         0.9 cpu-ratio	     10052 ours/s	         0.8141 ratio	     12345 yardstick/s
BenchmarkIdleConnections-2             	    1	        42.4 KB/conn	        38.4 yardstick-KB/conn
pkg: github.com/gatepost-mail/gatepost/internal/integration/conformance
BenchmarkAccept/1-2	5	4000 ours/s	11156 yardstick/s	0.36 ratio	3664 fsync-ours/s	6006 fsync-yardstick/s	0.61 fsync-ratio
PASS
`

func TestTable(t *testing.T) {
	found, err := read(strings.NewReader(output))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if write(&b, found) {
		t.Error("a ratio of 0.81 reached 0.85")
	}
	for _, want := range []string{"| 10052/s | 12345/s | 0.81 | ≥ 0.85 | **missed** |", "| 42 KB/conn | 38 KB/conn |  | ≤ 60 | yes |", "| 3664/s | 6006/s | 0.61 | ≥ 0.5 | yes |"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &b)
		}
	}
	if _, err := read(strings.NewReader(output + "--- FAIL: BenchmarkLogin\n")); err == nil {
		t.Error("a benchmark that failed is no error")
	}
}
