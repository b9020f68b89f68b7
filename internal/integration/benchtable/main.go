// Benchtable reads what go test -bench prints and writes one table of it, in
// Markdown: what was measured, how it compares with its yardstick, and what it
// has to reach. It ends with exit status 1 if something doesn't reach it.
//
//	go test -run '^$' -bench . work | go run ./internal/integration/benchtable
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
	most       float64 // at most that; neither: it is only shown
}

var targets = []target{
	{"relay", "Submission/lockstep", "ratio", "4 KiB messages on 10 TLS connections, against a bare go-smtp server that discards", 0.85, 0},
	{"relay", "Submission/pipelining", "ratio", "the same from clients that pipeline", 0.85, 0},
	{"relay", "BDAT", "ratio", "10 MiB messages by BDAT, against the same", 0.5, 0},
	{"relay", "MessageMemory", "KB/message", "memory for a message of 10 MiB in flight", 0, 512},
	{"relay", "Login", "ratio", "a repeated login on the memory store, against connecting without AUTH", 0.8, 0},
	{"conformance", "Login", "ratio", "the same on SQLite", 0.8, 0},
	{"conformance", "Lookup/sqlite-mapped", "ratio", "a look-up among 1,000,000 users on SQLite with a memory map, against one among 1,000", 1 / 1.5, 0},
	{"conformance", "Lookup/sqlite-modernc", "ratio", "the same without the map", 0, 0},
	{"conformance", "Lookup/sqlite-ncruces", "ratio", "the same with ncruces/go-sqlite3, which has no memory map", 0, 0},
	{"relay", "IdleConnections", "KB/conn", "an idle TLS connection, of 2,000", 0, 60},
	{"smarthost", "PassThrough", "ratio", "through to a sink by smarthost, against discarding", 0.4, 0},
	{"queue", "Queue/from_memory", "accepted-ratio", "accepted by a queue on the memory store, against discarding", 0.5, 0},
	{"queue", "Queue/from_memory", "settled-ratio", "accepted, delivered and settled by it, against discarding", 0.3, 0},
	{"conformance", "Accept/1", "fsync-ratio", "accepted on SQLite from one connection, against what the disk's syncs allow", 0.5, 0},
	{"conformance", "Accept/10", "ratio", "accepted on SQLite from 10 connections, against discarding", 0, 0},
	{"conformance", "Accept/100", "ratio", "the same from 100", 0, 0},
	{"conformance", "Guarded/1", "cpu-ratio", "the same from 10, recorded, with relay/domains and a limit, against without; in processor time", 0.97, 0},
	{"conformance", "Guarded/3", "cpu-ratio", "the same with three limits", 0, 0},
	{"conformance", "Log/10", "ratio", "appended to a bare file and synced in groups, 10 connections, against discarding", 0, 0},
	{"conformance", "Log/100", "ratio", "the same, 100", 0, 0},
	{"conformance", "Deliver/10", "ratio", "accepted on SQLite, delivered and settled, 10 connections, against discarding", 0, 0},
	{"conformance", "Deliver/100", "ratio", "the same, 100", 0, 0},
	{"conformance", "Server/PostgreSQL/accept", "ratio", "accepted on PostgreSQL from 10 connections, against SQLite", 0.5, 0},
	{"conformance", "Server/PostgreSQL/deliver", "ratio", "delivered and settled on it", 0.5, 0},
	{"conformance", "Server/MySQL/accept", "ratio", "accepted on MariaDB, against SQLite", 0.5, 0},
	{"conformance", "Server/MySQL/deliver", "ratio", "delivered and settled on it", 0.5, 0},
	{"conformance", "Record/SQLite/derive", "ratio", "delivered and settled on SQLite with a history made beside it, against without", 0.8, 0},
	{"conformance", "Record/PostgreSQL/derive", "ratio", "the same on PostgreSQL", 0.8, 0},
	{"conformance", "Record/MySQL/derive", "ratio", "the same on MariaDB", 0.8, 0},
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

// A result is what a benchmark measured.
type result struct {
	pkg, bench string
	metrics    map[string]float64
}

// read finds the results in the output of go test -bench.
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
		metrics := make(map[string]float64)
		for i := 2; i+1 < len(fields); i += 2 {
			if v, err := strconv.ParseFloat(fields[i], 64); err == nil {
				metrics[fields[i+1]] = v
			}
		}
		found = append(found, result{pkg, bench, metrics})
	}
	if err == nil {
		err = lines.Err()
	}
	return found, err
}

// write writes the table, and reports whether everything reached its target.
// It leaves out rows that were not measured, so that a few benchmarks may be run.
func write(w io.Writer, found []result) (ok bool) {
	ok = true
	fmt.Fprintln(w, "| what | ours | yardstick | ratio | target | ok |\n|---|--:|--:|--:|--:|---|")
	for _, t := range targets {
		for _, r := range found {
			v, measured := r.metrics[t.metric]
			if !measured || r.pkg != t.pkg || r.bench != t.bench && !strings.HasPrefix(r.bench, t.bench+"/") {
				continue
			}
			kind, isRatio := strings.CutSuffix(t.metric, "ratio")
			ours, yardstick, ratio := r.rate(kind, "ours/s"), r.rate(kind, "yardstick/s"), fmt.Sprintf("%.2f", v)
			if !isRatio {
				ours, yardstick, ratio = r.show(t.metric), r.show("yardstick-"+t.metric), ""
			}
			target, verdict := t.judge(v)
			ok = ok && verdict != missed
			what := t.what + strings.TrimPrefix(r.bench, t.bench)
			fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s |\n", what, ours, yardstick, ratio, target, verdict)
		}
	}
	return ok
}

// rate returns the rate that a ratio of this kind is made of: "fsync-ours/s" for
// "fsync-ratio". Without one it is the rate of all ratios of the benchmark.
func (r result) rate(kind, metric string) string {
	if v, ok := r.metrics[kind+metric]; ok {
		return fmt.Sprintf("%.0f/s", v)
	}
	return r.show(metric)
}

// show returns a metric with its unit, or nothing if it wasn't measured.
func (r result) show(metric string) string {
	v, ok := r.metrics[metric]
	if !ok {
		return ""
	}
	unit := strings.TrimPrefix(metric, "yardstick-")
	if _, per, ok := strings.Cut(unit, "/"); ok && per == "s" {
		unit = "/s"
	}
	return strings.Replace(fmt.Sprintf("%.0f %s", v, unit), " /", "/", 1)
}

const missed = "**missed**"

// judge returns the target in words, and whether v reaches it.
func (t target) judge(v float64) (words, verdict string) {
	reached := true
	switch {
	case t.most > 0:
		words, reached = fmt.Sprintf("≤ %.3g", t.most), v <= t.most
	case t.least > 0:
		words, reached = fmt.Sprintf("≥ %.2g", t.least), v >= t.least
	default:
		return "", ""
	}
	if !reached {
		return words, missed
	}
	return words, "yes"
}
