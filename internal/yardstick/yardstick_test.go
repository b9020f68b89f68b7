package yardstick_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/internal/yardstick"
)

func TestCompare(t *testing.T) {
	load := func(round time.Duration) func(int) error {
		return func(n int) error {
			time.Sleep(time.Duration(n) * round)
			return nil
		}
	}
	r := testing.Benchmark(func(b *testing.B) {
		yardstick.Compare(b, load(10*time.Millisecond), load(20*time.Millisecond))
	})
	if got := r.Extra["ratio"]; got < 0.4 || got > 0.6 {
		t.Errorf("half as fast is a ratio of %v", got)
	}
	for metric, most := range map[string]float64{"ours/s": 50, "yardstick/s": 100} {
		if got := r.Extra[metric]; got <= most/2 || got > most { // sleeping takes longer, if anything
			t.Errorf("%s is %v, want about %v", metric, got, most)
		}
	}
}

func TestParallel(t *testing.T) {
	var done atomic.Int64
	client := func() error {
		done.Add(1)
		return nil
	}
	load := yardstick.Parallel([]func() error{client, client, client})
	for _, n := range []int{1, 2, 1000} {
		done.Store(0)
		if err := load(n); err != nil || done.Load() != int64(n) {
			t.Errorf("%d rounds of %d, %v", done.Load(), n, err)
		}
	}
	broken := errors.New("broken")
	fails := func() error {
		done.Add(1)
		return broken
	}
	done.Store(0)
	load = yardstick.Parallel([]func() error{fails, fails})
	if err := load(1000); err != broken || done.Load() > 2 {
		t.Errorf("got %v after %d rounds", err, done.Load())
	}
}
