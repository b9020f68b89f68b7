package yield_test

import (
	"runtime"
	"testing"

	"github.com/gatepost-mail/gatepost/internal/yield"
)

// Others that are ready run before the caller goes on.
func TestBriefly(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	came := make(chan int, 3)
	for i := range cap(came) {
		go func() { came <- i }()
	}
	for range 5 { // it may end early if the machine pauses this process
		yield.Briefly()
	}
	if len(came) != cap(came) {
		t.Errorf("%d of %d goroutines ran", len(came), cap(came))
	}
}
