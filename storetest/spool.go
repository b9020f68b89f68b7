package storetest

import (
	"slices"
	"testing"

	"github.com/gatepost-mail/gatepost/store"
)

// RunSpool runs every case of the contract of [store.Spool] as a subtest of t.
// fresh is as for [Run].
//
// Cases run one after another. The largest put a mail of 64 MiB, and one to
// 10,000 recipients.
func RunSpool(t *testing.T, fresh func(t *testing.T) (open func() store.Spool)) {
	t.Helper()
	for _, p := range spoolPromises() {
		t.Run(p.name, func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("the promise: %q", p.words)
				}
			})
			open := fresh(t)
			sp := open()
			if sp == nil {
				t.Fatal("the function that fresh returned opened nil")
			}
			p.check(&spooler{T: t, Spool: sp, open: open})
		})
	}
}

// A spoolPromise is one case, as a promise is for Run.
type spoolPromise struct {
	name  string
	words string
	check func(*spooler)
}

func spoolPromises() []spoolPromise {
	return slices.Concat(
		putPromises,
		keyPromises,
		bodyPromises,
		leasePromises,
		nodePromises,
		suspensionPromises,
		settlePromises,
		spoolListPromises,
		filterPromises,
		destinationPromises,
		spoolTextPromises,
		spoolHandlePromises,
		spoolRacePromises,
	)
}
