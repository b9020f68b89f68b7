//go:build race

package credentials_test

// raceEnabled relaxes limits of time and memory: the race detector takes a
// multiple of both.
const raceEnabled = true
