package relay

import (
	"cmp"
	"slices"
	"time"
)

// A BrakeKind says what holds mail back.
type BrakeKind string

// The kinds of brakes. Later versions may add others.
const (
	// BrakeRate: the messages a second that a site may get are used up.
	BrakeRate BrakeKind = "rate"

	// BrakeConnections: a site has as many connections as it may have, because that
	// was set or because its server turned more of them away.
	BrakeConnections BrakeKind = "connections"

	// BrakePause: a server has asked for less mail, and gets none until the pause ends.
	BrakePause BrakeKind = "pause"

	// BrakeDestination: a destination has as many attempts as it may have at once.
	BrakeDestination BrakeKind = "destination"

	// BrakeWorkers: the process makes as many attempts as it may make at once.
	BrakeWorkers BrakeKind = "workers"

	// BrakeMemory: the memory for messages is used up, so that they are read back
	// from the store.
	BrakeMemory BrakeKind = "memory"

	// BrakeNode: the process may have lost its leases, and begins no attempt.
	BrakeNode BrakeKind = "node"
)

// A Brake says that this process holds mail back at present, and why. Suspensions are
// not brakes: they hold for all processes.
type Brake struct {
	Kind BrakeKind

	// Site is what the brake is for: a site of a Forwarder or a destination of a queue.
	// Empty means all mail, or that there is only one destination.
	Site string

	Limit   int       // how many connections or attempts there may be; 0 if it is not about a number
	Waiting int       // messages that wait for it in this process, as far as it knows
	Until   time.Time // when it ends; zero if that depends on other messages
	Reason  string    // what a server said, in one line; empty if none did
}

// MaxBrakes is how many brakes a method Brakes returns at most.
const MaxBrakes = 1000

// SortBrakes sorts brakes: those with the most that waits first. It returns at most
// MaxBrakes.
func SortBrakes(list []Brake) []Brake {
	slices.SortFunc(list, func(a, b Brake) int {
		return cmp.Or(cmp.Compare(b.Waiting, a.Waiting), cmp.Compare(a.Site, b.Site), cmp.Compare(a.Kind, b.Kind))
	})
	return list[:min(len(list), MaxBrakes)]
}
