package store

import "testing"

func TestPublicReason(t *testing.T) {
	for _, test := range []struct {
		reason, want string
		internal     bool
	}{
		{"", "", false},
		{"mx.example.com 451 4.7.1 later", "mx.example.com 451 4.7.1 later", false},
		{InternalReason, InternalReason, true},
		{InternalReason + ": smtp.internal: AUTH", InternalReason, true},
		{InternalReason + "s", InternalReason + "s", false},
	} {
		if got, internal := PublicReason(test.reason), IsInternal(test.reason); got != test.want || internal != test.internal {
			t.Errorf("%q: got %q, internal %v, want %q, %v", test.reason, got, internal, test.want, test.internal)
		}
	}
}
