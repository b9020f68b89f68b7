// Package stack grows the stacks of goroutines.
package stack

// Grow makes the stack of the calling goroutine 16 KiB large at once, if it is smaller.
// A new goroutine has 2 KiB. If a deep call needs more, the runtime doubles the stack
// several times and copies all frames each time.
//
//go:noinline
func Grow() {
	var frame [8 << 10]byte
	use(&frame)
}

//go:noinline
func use(*[8 << 10]byte) {}
