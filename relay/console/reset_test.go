package console_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// The form says how long the old password may work as well, in any unit.
func TestOverlapInWords(t *testing.T) {
	for length, want := range sorted(map[string][2]string{
		"24h": {"works for 1 day as well", "pendant 1 jour"}, "1h": {"works for 1 hour as well", "pendant 1 heure"}, "72h": {"for 3 days", "3 jours"},
		"90m": {"for 90 minutes", "90 minutes"}, "20m": {"for 20 minutes", "20 minutes"}, "10s": {"for 1 minute as well", "1 minute"}, "720h": {"for 30 days", "30 jours"},
	}) {
		f := newFixture(t)
		f.console.Overlap = must(time.ParseDuration(length))
		u, _ := f.user(f.acme, "acme.example", "shop")
		if err := f.store.RecordLogin(t.Context(), u.Username, 1, time.Now().UTC().Truncate(time.Microsecond), netip.MustParseAddr("203.0.113.7")); err != nil {
			t.Fatal(err)
		}
		f.want(f.get(userPath(u)+"/reset"), 200, want[0])
		f.want(f.get(userPath(u)+"/reset", french), 200, want[1])
	}
}

// An Overlap that no reset accepts is an error of the product.
func TestWrongOverlap(t *testing.T) {
	for _, wrong := range []time.Duration{-time.Hour, 40 * 24 * time.Hour} {
		f := newFixture(t)
		f.console.Overlap = wrong
		f.want(f.get(""), http.StatusInternalServerError)
		if !strings.Contains(f.log.String(), "Handler.Overlap") {
			t.Errorf("%v: got the log %q, want the field", wrong, f.log)
		}
	}
}
