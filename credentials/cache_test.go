package credentials

import "testing"

func TestDigestSeparatesItsParts(t *testing.T) {
	m := &Manager{key: []byte("key")}
	seen := make(map[digest][3]string)
	for _, parts := range [][3]string{{"ab", "c", "d"}, {"a", "bc", "d"}, {"a", "b", "cd"}, {"abcd", "", ""}, {"", "abcd", ""}, {"", "", "abcd"}} {
		d := m.digest(parts[0], parts[1], parts[2])
		if other, ok := seen[d]; ok {
			t.Errorf("%q and %q have the same digest, want different ones", parts, other)
		}
		seen[d] = parts
	}
	other := &Manager{key: []byte("another key")}
	if other.digest("a", "b", "c") == m.digest("a", "b", "c") {
		t.Error("two keys give the same digest, want different ones")
	}
}
