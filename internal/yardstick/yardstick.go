// Package yardstick is for benchmarks that say how something compares, rather
// than how fast this machine is today.
package yardstick

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// turn is the minimum duration of a turn: long enough to average out scheduling,
// and short enough for many turns.
const turn = 20 * time.Millisecond

// Compare measures two loads in turns, so that other work on the machine affects
// both, and reports
//
//   - ratio, how fast ours is: 1 is as fast as the yardstick, 0.5 half as fast. It
//     is the median of all pairs of turns, so a short disturbance does not count;
//   - cpu-ratio, the same in processor time of this process (on Unix), which
//     depends little on other processes;
//   - ours/s and yardstick/s, rounds per second in the median turn.
//
// A load does n rounds each time it is called.
func Compare(b *testing.B, yardstick, ours func(n int) error) {
	b.Helper()
	CompareFor(b, turn, yardstick, ours)
}

// CompareFor is Compare with turns of at least this duration, for loads that need
// a while to begin and to end.
func CompareFor(b *testing.B, turn time.Duration, yardstick, ours func(n int) error) {
	b.Helper()
	CompareCPU(b, turn, CPUTime, yardstick, ours)
}

// CompareCPU is CompareFor with another measure of the processor time that was used so
// far, for loads that let other processes work.
func CompareCPU(b *testing.B, turn time.Duration, cpu func() time.Duration, yardstick, ours func(n int) error) {
	b.Helper()
	y, o := &side{load: yardstick, least: turn, clock: cpu}, &side{load: ours, least: turn, clock: cpu}
	o.calibrate(b)
	y.calibrate(b)
	var ratios, cpuRatios []float64
	for i := 0; b.Loop(); i++ {
		first, second := y, o
		if i%2 == 1 {
			first, second = o, y
		}
		first.turn(b)
		second.turn(b)
		ratios = append(ratios, o.rates[i]/y.rates[i])
		cpuRatios = append(cpuRatios, y.cpu[i]/o.cpu[i])
	}
	b.ReportMetric(median(ratios), "ratio")
	if o.cpu[0] > 0 {
		b.ReportMetric(median(cpuRatios), "cpu-ratio")
	}
	b.ReportMetric(median(o.rates), "ours/s")
	b.ReportMetric(median(y.rates), "yardstick/s")
	b.ReportMetric(0, "ns/op") // of both together, which is of no use
}

// A side is one of the two that are compared.
type side struct {
	load  func(n int) error
	least time.Duration // of a turn
	clock func() time.Duration
	n     int       // rounds in a turn
	rates []float64 // rounds per second of each turn
	cpu   []float64 // processor time of a round of each turn, in seconds
}

// calibrate sets the number of rounds in a turn.
func (s *side) calibrate(b *testing.B) {
	b.Helper()
	s.n = 1
	s.turn(b) // the first round may take longer than all others
	for ; ; s.n *= 2 {
		s.turn(b)
		if 1/s.rates[len(s.rates)-1]*float64(s.n) >= s.least.Seconds() {
			break
		}
	}
	s.cpu, s.rates = nil, nil
}

func (s *side) turn(b *testing.B) {
	b.Helper()
	cpu, start := s.clock(), time.Now()
	if err := s.load(s.n); err != nil {
		b.Fatal(err)
	}
	s.rates = append(s.rates, float64(s.n)/time.Since(start).Seconds())
	s.cpu = append(s.cpu, (s.clock()-cpu).Seconds()/float64(s.n))
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}

// Parallel makes one load of several clients, each of which does a round when it
// is called. Together they do n rounds; a client that has finished a round takes
// the next one.
func Parallel(clients []func() error) func(n int) error {
	return func(n int) error {
		var (
			wg    sync.WaitGroup
			taken atomic.Int64
			once  sync.Once
			first error
		)
		for _, client := range clients {
			wg.Go(func() {
				for taken.Add(1) <= int64(n) {
					if err := client(); err != nil {
						once.Do(func() { first = err })
						return
					}
				}
			})
		}
		wg.Wait()
		return first
	}
}
