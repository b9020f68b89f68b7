package limits_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/relay/limits"
	"github.com/gatepost-mail/gatepost/store"
)

// A slowUsages takes its time for Usages.
type slowUsages struct {
	store.Allowances
	usages time.Duration
}

func (s *slowUsages) Usages(ctx context.Context, scope string) ([]store.Usage, error) {
	time.Sleep(s.usages) // in a bubble
	return s.Allowances.Usages(ctx, scope)
}

// A limit is not forgotten while its first message waits for the Store. Otherwise the
// next message would take what the first one holds for held by another process.
func TestFirstMessageWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProduct(t, limits.Limit{Max: 10})
		p.stop()
		l := p.node()
		l.Store = &slowUsages{l.Store, 3500 * time.Millisecond}
		defer p.run(l)()
		first := make(chan error, 1)
		go func() { first <- send(l, billing, 10) }()
		time.Sleep(2500 * time.Millisecond) // Run has looked twice
		p.refuses(l, billing, 1, 550, "the monthly limit of 10 recipients is used up (10 of 10); it begins anew on 1 February 2000")
		if err := <-first; err != nil {
			t.Error(err)
		}
		if n := l.Allowances(); n != 1 {
			t.Errorf("%d allowances are remembered, want 1", n)
		}
	})
}

// A limit that was idle is forgotten, unless a message asks for it just before.
func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := limits.Limit{Max: 10}
		p := newProduct(t, limit)
		p.stop()
		l := p.node()
		stop := p.run(l)
		p.sends(l, billing, 1)
		time.Sleep(time.Minute) // the rest is given back
		stop()
		time.Sleep(10 * time.Minute)
		l.Overtake(func() { l.Want(billing, limit) })
		if n := l.Allowances(); n != 1 {
			t.Errorf("%d allowances are remembered, want the one that is wanted", n)
		}
		time.Sleep(10 * time.Minute)
		l.Overtake(func() {})
		if n := l.Allowances(); n != 0 {
			t.Errorf("%d allowances are remembered, want none", n)
		}
	})
}
