package console_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/console"
	"github.com/gatepost-mail/gatepost/relay/limits"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// withLimits adds limits to a fixture.
func (f *fixture) withLimits(list ...limits.Limit) {
	f.console.Limits = &limits.Limiter{
		Store:  f.store.(*memory.Store),
		Limits: func(context.Context, credentials.Identity) ([]limits.Limit, error) { return list, nil },
		Next:   relay.ForwarderFunc(func(context.Context, *relay.Message) error { return nil }),
		Logger: f.console.Logger,
	}
}

// use counts recipients of a limit of the tenant acme, as an applied event does.
func (f *fixture) use(scope string, l limits.Limit, n int64) {
	f.Helper()
	begin, _ := l.Period(time.Now())
	if _, err := f.store.(*memory.Store).Reserve(f.Context(), store.Reservation{
		Grant: store.Grant{Scope: scope, Period: begin}, Max: l.Max, Used: n, Until: time.Now().Add(time.Hour), Ended: time.Now().Add(-time.Hour),
	}); err != nil {
		f.Fatal(err)
	}
}

// Each page has a bar of the tenant's limits; the pages of a domain and a user have
// those of the domain and the user too.
func TestQuota(t *testing.T) {
	f := newFixture(t)
	month := limits.Limit{Max: 10_000}
	f.withLimits(month, limits.Limit{Scope: limits.PerDomain, Interval: limits.Daily, Max: 500}, limits.Limit{Scope: limits.PerUser, Interval: limits.Hourly, Max: 20})
	u, _ := f.user(f.acme, "acme.example", "shop")
	_, end := month.Period(time.Now())
	for _, test := range []struct {
		path      string
		want, not []string
	}{
		{"", []string{"0 of 10,000 recipients this month", "Renewed: " + end.Format("2 Jan")}, []string{"today", "this hour"}},
		{"quota", []string{"0 of 10,000 recipients this month"}, []string{"today"}},
		{"domains/acme.example", []string{"this month", "0 of 500 recipients today"}, []string{"this hour"}},
		{userPath(u), []string{"this month", "0 of 500 recipients today", "0 of 20 recipients this hour"}, nil},
	} {
		page := f.get(test.path)
		f.want(page, 200, test.want...)
		for _, part := range test.not {
			if strings.Contains(page.body, part) {
				t.Errorf("%s: got %q, want none", test.path, part)
			}
		}
	}
	f.want(f.get("quota?username="+u.Username, program), 200, `"scope":"user"`, `"interval":"hour"`, `"max":20`)
	f.want(f.get("quota?domain=rival.example", program), 404)
	f.want(f.get("quota?domain=x", program), 404)
}

// A bar says in words how much is used.
func TestQuotaLevels(t *testing.T) {
	for used, want := range map[int64]string{799: "gatepost-some", 800: "80% used.", 1000: "Used up: messages are refused.", 1500: "1,500 of 1,000"} {
		f := newFixture(t)
		l := limits.Limit{Max: 1000}
		f.withLimits(l)
		f.use("month/tenant/acme", l, used)
		f.want(f.get(""), 200, want)
	}
}

// A visitor who may not see the quota sees neither bars nor the page, and a failure of the
// limits hides the bars only.
func TestQuotaHidden(t *testing.T) {
	f := newFixture(t)
	f.withLimits(limits.Limit{Max: 10})
	f.console.May = func(_ *http.Request, a console.Action) error {
		if a == console.ViewQuota {
			return errors.New("reader")
		}
		return nil
	}
	page := f.get("")
	f.want(page, 200)
	if strings.Contains(page.body, "gatepost-quota") {
		t.Error("got a bar, want none")
	}
	f.want(f.get("quota"), http.StatusForbidden)

	f = newFixture(t)
	f.withLimits()
	f.console.Limits.Limits = func(context.Context, credentials.Identity) ([]limits.Limit, error) { return nil, errAway }
	f.want(f.get(""), 200, "acme.example")
	f.want(f.get("quota"), http.StatusInternalServerError)
	if !strings.Contains(f.log.String(), "limits cannot be read") {
		t.Errorf("got the log %s, want the failure in it", f.log)
	}
}
