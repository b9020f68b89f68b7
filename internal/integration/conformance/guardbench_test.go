package conformance_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/internal/yardstick"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/domains"
	"github.com/gatepost-mail/gatepost/relay/limits"
	"github.com/gatepost-mail/gatepost/relay/queue"
)

// BenchmarkGuarded submits messages to a relay whose queue keeps and records them in
// SQLite, and that asks whether the domain is proved and whether one or three limits are
// used up. The yardstick is the same relay without domains and limits. cpu-ratio is what
// counts.
func BenchmarkGuarded(b *testing.B) {
	all := []limits.Limit{
		{Max: 1 << 40}, {Scope: limits.PerDomain, Interval: limits.Daily, Max: 1 << 40}, {Scope: limits.PerUser, Interval: limits.Hourly, Max: 1 << 40},
	}
	for _, n := range []int{1, 3} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { compareGuarded(b, all[:n]) })
	}
}

func compareGuarded(b *testing.B, list []limits.Limit) {
	b.Helper()
	_, st := sqliteModernc.pool(b)
	dom := &domains.Manager{Store: st, Domains: st, Secret: credentials.NewPassword(strings.Repeat("s", 32)), AllowUnverified: true, Logger: quiet}
	q := &queue.Queue{Spool: st, Next: discard, Record: true, Logger: quiet}
	lim := &limits.Limiter{Store: st, Next: q, Logger: quiet}
	lim.Limits = func(context.Context, credentials.Identity) ([]limits.Limit, error) { return list, nil }
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { dom.Run(ctx) })
	running.Go(func() { lim.Run(ctx) })
	b.Cleanup(func() {
		cancel()
		running.Wait()
	})
	allow := func(ctx context.Context, r *relay.PolicyRequest) error {
		if err := dom.AllowUser(ctx, r); err != nil {
			return err
		}
		return lim.AllowUser(ctx, r)
	}
	addr, auth := serveAs(b, st, &relay.Server{Forwarder: lim, AllowUser: allow})
	yardstick.CompareFor(b, turn/5, submit(b, st, q, 10), clients(b, addr, auth, 10))
}
