package store_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

func TestGrants(t *testing.T) {
	grants := []store.Grant{
		{ID: "1a", Scope: "month/tenant/acme", Period: time.Date(2026, 2, 28, 23, 59, 59, 999_999_000, time.UTC)},
		{ID: "2", Scope: "day/user/a b;c%20/%3Bd é/u1", Period: time.UnixMicro(-5).UTC()},
		{ID: "3", Scope: "", Period: time.UnixMicro(0).UTC()},
	}
	for n := range len(grants) + 1 {
		got, err := store.ParseGrants(store.FormatGrants(grants[:n]))
		if err != nil || !slices.Equal(got, grants[:n]) {
			t.Errorf("got %+v, %v, want %+v", got, err, grants[:n])
		}
	}
	for _, text := range []string{" ", "1", "1 2", "1 2 3 4", "1 - x", ";", "1 2 3;", " 2 3", "1_ 2 3", strings.Repeat("1", 65) + " 2 3", "1 2 " + strings.Repeat("x", 1025), "1 2 \xff", "1 2 \x00"} {
		if got, err := store.ParseGrants(text); err == nil {
			t.Errorf("%q: got %+v, want an error", text, got)
		}
	}
}
