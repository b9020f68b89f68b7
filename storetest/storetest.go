// Package storetest holds the promises of package store as executable cases,
// so that any adapter can show that it keeps them.
//
// In a test of your adapter, say how to open it and run the suite:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) func() store.Store {
//			path := filepath.Join(t.TempDir(), "store.db")
//			return func() store.Store { return openMine(t, path) }
//		})
//	}
//
// [RunSpool] does the same for a [store.Spool], and [RunContents] for a
// [store.Contents]; an adapter of several runs several.
//
// A case that fails prints the promise it stands for, in the words of
// [store.Store] or [store.Spool], after what went wrong. The cases use nothing
// but that interface. There is no way to leave one out: an adapter that can't
// keep a promise is not a Store, or not a Spool.
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
// It calls fresh once for each case, with the case's own t. The function that
// fresh returns opens the case's store, which is empty at first; called again
// it returns another handle on the same data, as another process would have it
// (an adapter that lives in one process may return the same Store again). It
// is called from the case's goroutine and may use t: to fail, and to close in
// a Cleanup what it opened.
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
				t.Fatal("the function that fresh returned opened nil")
			}
			p.check(&tester{T: t, Store: st, open: open})
		})
	}
}

// A promise is one case.
type promise struct {
	name  string // method or subject, slash, what is promised
	words string // the sentences of package store that promise it, word for word
	check func(*tester)
}

func promises() []promise {
	return slices.Concat(
		domainPromises,
		userPromises,
		passwordPromises,
		connectionPromises,
		listPromises,
		textPromises,
		handlePromises,
		racePromises,
	)
}
