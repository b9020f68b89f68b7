// Benchtable reads what go test -bench prints and writes one table of it, in
// Markdown: what was measured, how it compares with its yardstick, and what it
// has to reach. It ends with exit status 1 if something doesn't reach it.
//
//	go test -run '^$' -bench . work | go run ./examples/internal/benchtable
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// A target is what a metric of a benchmark has to reach.
type target struct {
	pkg, bench string // the package's last element, and the benchmark without "Benchmark"
	metric     string
	what       string
	least      float64 // at least this, or
	most       float64 // at most that
}

var targets = []target{
	{"relay", "Submission/lockstep", "ratio", "4 KiB messages on 10 TLS connections, against a bare go-smtp server that discards", 0.85, 0},
	{"relay", "Submission/pipelining", "ratio", "the same from clients that pipeline", 0.85, 0},
	{"relay", "BDAT", "ratio", "10 MiB messages by BDAT, against the same", 0.5, 0},
	{"relay", "MessageMemory", "KB/message", "memory for a message of 10 MiB in flight", 0, 512},
	{"relay", "Login", "ratio", "a repeated login on the memory store, against connecting without AUTH", 0.8, 0},
	{"conformance", "Login", "ratio", "the same on SQLite", 0.8, 0},
	{"conformance", "Lookup", "ratio", "a look-up among 1,000,000 users on SQLite, in times of one among 1,000", 0, 1.5},
	{"relay", "IdleConnections", "KB/conn", "an idle TLS connection, of 2,000", 0, 60},
	{"smarthost", "PassThrough", "ratio", "through to a sink by smarthost, against discarding", 0.4, 0},
	{"queue", "Queue", "accepted-ratio", "accepted by a queue in memory, against discarding", 0.5, 0},
	{"queue", "Queue", "settled-ratio", "accepted, delivered and settled by it, against discarding", 0.3, 0},
}

func main() {
	found, err := read(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchtable:", err)
		os.Exit(1)
	}
	if !write(os.Stdout, found) {
		os.Exit(1)
	}
}

// A result is one metric of one benchmark.
type result struct {
	pkg, bench, metric string
	value              float64
}

// read finds the metrics in the output of go test -bench.
func read(r io.Reader) (found []result, err error) {
	pkg := ""
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if name, ok := strings.CutPrefix(line, "pkg: "); ok {
			pkg = name[strings.LastIndexByte(name, '/')+1:]
		}
		if strings.HasPrefix(line, "--- FAIL") || strings.HasPrefix(line, "FAIL") {
			err = fmt.Errorf("a benchmark failed: %s", line)
		}
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		bench := strings.TrimPrefix(fields[0], "Benchmark")
		if i := strings.LastIndexByte(bench, '-'); i > 0 {
			bench = bench[:i] // the number of processors
		}
		for i := 2; i+1 < len(fields); i += 2 {
			if v, err := strconv.ParseFloat(fields[i], 64); err == nil {
				found = append(found, result{pkg, bench, fields[i+1], v})
			}
		}
	}
	if err == nil {
		err = lines.Err()
	}
	return found, err
}

// write writes the table, and reports whether everything reached its target.
// What wasn't measured is left out: one may run a few of the benchmarks.
func write(w io.Writer, found []result) (ok bool) {
	ok = true
	fmt.Fprintln(w, "| what | measured | wanted |\n|---|---|---|")
	for _, t := range targets {
		for _, r := range found {
			if r.pkg != t.pkg || r.metric != t.metric || r.bench != t.bench && !strings.HasPrefix(r.bench, t.bench+"/") {
				continue
			}
			unit := strings.TrimSuffix(r.metric, "ratio")
			unit = strings.TrimSuffix(unit, "-")
			if unit == "accepted" || unit == "settled" {
				unit = ""
			}
			wanted, reached := fmt.Sprintf("at least %g", t.least), r.value >= t.least
			if t.most > 0 {
				wanted, reached = fmt.Sprintf("at most %g", t.most), r.value <= t.most
			}
			if !reached {
				wanted += " **missed**"
				ok = false
			}
			what := t.what + strings.TrimPrefix(r.bench, t.bench)
			fmt.Fprintf(w, "| %s | %s | %s |\n", what, strings.TrimSpace(fmt.Sprintf("%.3g %s", r.value, unit)), wanted)
		}
	}
	return ok
}
