package storetest

import (
	"slices"
	"testing"

	"github.com/gatepost-mail/gatepost/store"
)

// RunHistory runs every case of the contract of [store.History] as a subtest of t.
// fresh is as for [Run]. What open returns must be a [store.Spool] too.
//
// Cases run one after another. The largest puts a mail to 30,000 recipients.
func RunHistory(t *testing.T, fresh func(t *testing.T) (open func() store.History)) {
	t.Helper()
	for _, p := range historyPromises() {
		t.Run(p.name, func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("the promise: %q", p.words)
				}
			})
			open := fresh(t)
			h := newHistorian(t, open)
			h.openAnother = open
			p.check(h)
		})
	}
}

// A historyPromise is one case, as a promise is for Run.
type historyPromise struct {
	name  string
	words string
	check func(*historian)
}

func historyPromises() []historyPromise {
	return slices.Concat(
		recordPromises,
		asidePromises,
		applyPromises,
		beginsPromises,
		activityPromises,
		recipientPromises,
		countPromises,
		historyHandlePromises,
	)
}
