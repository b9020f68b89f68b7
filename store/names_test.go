package store_test

import (
	"fmt"
	"testing"

	"github.com/gatepost-mail/gatepost/store"
)

// Every state, kind of event and source of a suppression has a name of its own, and a number that is
// none says so.
func TestNames(t *testing.T) {
	for name, tt := range map[string]struct {
		last int
		of   func(int) fmt.Stringer
	}{
		"ActivityState":     {int(store.ActivityCanceled), func(n int) fmt.Stringer { return store.ActivityState(n) }},
		"EventKind":         {int(store.EventReported), func(n int) fmt.Stringer { return store.EventKind(n) }},
		"SuppressionSource": {int(store.SuppressedByPerson), func(n int) fmt.Stringer { return store.SuppressionSource(n) }},
	} {
		seen := make(map[string]bool)
		for n := 1; n <= tt.last; n++ {
			got := tt.of(n).String()
			if got == "" || got == fmt.Sprintf("%s(%d)", name, n) || seen[got] {
				t.Errorf("%s %d is called %q, want a name of its own", name, n, got)
			}
			seen[got] = true
		}
		for _, n := range []int{-1, 0, tt.last + 1} {
			if got, want := tt.of(n).String(), fmt.Sprintf("%s(%d)", name, n); got != want {
				t.Errorf("%s %d is called %q, want %q", name, n, got, want)
			}
		}
	}
	if got := store.ActivityHardBounced.String(); got != "hard bounced" {
		t.Errorf("ActivityHardBounced is called %q", got)
	}
}
