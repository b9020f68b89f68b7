package relay

import (
	"net/netip"
	"testing"
)

func TestKeyOf(t *testing.T) {
	for _, test := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true}, // one /64
		{"2001:db8::1", "2001:db8:0:1::1", false},
	} {
		if got := keyOf(netip.MustParseAddr(test.a)) == keyOf(netip.MustParseAddr(test.b)); got != test.same {
			t.Errorf("%s and %s count as one: %v, want %v", test.a, test.b, got, test.same)
		}
	}
}
