// Package storetest tests an adapter of package store. It has a case for every
// promise of the interfaces.
//
// In a test of your adapter, pass a function that opens it:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) func() store.Store {
//			path := filepath.Join(t.TempDir(), "store.db")
//			return func() store.Store { return openMine(t, path) }
//		})
//	}
//
// [RunSpool] tests a [store.Spool], [RunContents] a [store.Contents],
// [RunSuppressions] a [store.Suppressions], [RunSetups] a [store.Setups], and [RunEndpoints]
// a [store.Endpoints]. An adapter of several interfaces runs several suites.
//
// A case that fails prints what went wrong, and then the promise in the words of the
// interface. Cases only use the methods of the interface. No case can be skipped: an
// adapter that breaks a promise is not a Store.
//
// The suite runs against this module's own stores on each database in
// internal/integration/conformance.
package storetest

import (
	"slices"
	"testing"

	"github.com/gatepost-mail/gatepost/store"
)

// Run runs every case of the contract of [store.Store] as a subtest of t.
//
// It calls fresh once for each case, with the t of the case. The function open that
// fresh returns opens a store that is empty at first. Each further call of open
// returns another handle on the same data, like one of another process. An adapter
// that keeps its data in one process may return the same Store again. Open is called
// from the goroutine of the case. It may use t to fail and to register a Cleanup.
//
// Cases run one after another. The largest adds about a thousand users.
func Run(t *testing.T, fresh func(t *testing.T) (open func() store.Store)) {
	t.Helper()
	for _, p := range promises() {
		t.Run(p.name, func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("the promise: %q", p.words)
				}
			})
			open := fresh(t)
			st := open()
			if st == nil {
				t.Fatal("open returned nil, want a Store")
			}
			p.check(&tester{T: t, Store: st, open: open})
		})
	}
}

// A promise is one case.
type promise struct {
	name  string // the method or subject, a slash, and the promise in short
	words string // the sentences of package store, word for word
	check func(*tester)
}

func promises() []promise {
	return slices.Concat(
		domainPromises,
		userPromises,
		passwordPromises,
		connectionPromises,
		userSuspensionPromises,
		rotationPromises,
		networkPromises,
		listPromises,
		limitPromises,
		textPromises,
		handlePromises,
		racePromises,
	)
}
