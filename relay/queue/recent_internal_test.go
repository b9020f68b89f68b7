package queue

import (
	"strconv"
	"testing"
)

// A recentSet remembers the last recentMails, and forgets older ones.
func TestRecentSet(t *testing.T) {
	var r recentSet
	if r.has("") || r.has("0") {
		t.Error("an empty set remembers something")
	}
	const n = 5*recentMails + 7
	for i := range n {
		r.add(strconv.Itoa(i))
	}
	for i := n - recentMails; i < n; i++ {
		if !r.has(strconv.Itoa(i)) {
			t.Fatalf("%d of %d is forgotten", i, n)
		}
	}
	if r.has(strconv.Itoa(n)) {
		t.Error("what was not added is remembered")
	}
	if len(r.now)+len(r.before) > 2*recentMails || r.has("0") {
		t.Errorf("%d mails are remembered, and 0: %t", len(r.now)+len(r.before), r.has("0"))
	}
}
