package credentials

import (
	"fmt"
	"testing"
)

func TestLRUForgetsWhatWasntAskedForLongest(t *testing.T) {
	var l lru[int, string]
	for i := range 5 {
		l.put(i, fmt.Sprint(i), 3)
		l.get(0) // keeps it
	}
	for i, want := range []bool{true, false, false, true, true} {
		if got, ok := l.get(i); ok != want || ok && got != fmt.Sprint(i) {
			t.Errorf("%d: %q, %v", i, got, ok)
		}
	}
	l.put(0, "zero", 3)
	if got, _ := l.get(0); got != "zero" || len(l.entries) != 3 || l.order.Len() != 3 {
		t.Errorf("%q, %d entries, %d in order", got, len(l.entries), l.order.Len())
	}
}

func TestDigestKeepsItsPartsApart(t *testing.T) {
	m := &Manager{key: []byte("key")}
	seen := make(map[digest]bool)
	for _, parts := range [][3]string{{"ab", "c", "d"}, {"a", "bc", "d"}, {"a", "b", "cd"}, {"abcd", "", ""}, {"", "abcd", ""}, {"", "", "abcd"}} {
		seen[m.digest(parts[0], parts[1], parts[2])] = true
	}
	if len(seen) != 6 {
		t.Errorf("%d digests of 6", len(seen))
	}
	other := &Manager{key: []byte("another key")}
	if other.digest("a", "b", "c") == m.digest("a", "b", "c") {
		t.Error("two processes have the same digest")
	}
}
