// Package yield lets callers who come at the same time find each other, so that they can
// share work.
package yield

import (
	"runtime"
	"time"
)

const (
	times   = 10
	tooLong = time.Millisecond
)

// Briefly lets other goroutines run a few times. On an idle machine it takes less than a
// microsecond. It ends early if others compute for long instead of coming to the same
// place, as hashes of passwords do.
func Briefly() {
	last := time.Now()
	for range times {
		runtime.Gosched()
		now := time.Now()
		if now.Sub(last) > tooLong {
			return
		}
		last = now
	}
}
