package credentials

import "testing"

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
