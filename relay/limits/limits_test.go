package limits_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/limits"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// Time in a bubble begins at 2000-01-01 00:00 UTC.
const usedUp10 = "the monthly limit of 10 recipients is used up (10 of 10); it begins anew on 1 February 2000"

func TestMonthly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProduct(t, limits.Limit{Max: 10, Anchor: time.Date(2000, 1, 1, 1, 0, 0, 0, time.UTC)})
		defer p.stop()
		l := p.node()
		defer p.run(l)()
		const usedUp10 = "the monthly limit of 10 recipients is used up (10 of 10); it begins anew on 1 January 2000 at 01:00 +0000"
		p.sends(l, billing, 7)
		if err := send(l, billing, 4); err == nil {
			t.Error("a message with 4 recipients is accepted where 3 are left")
		}
		p.refuses(l, billing, 11, 550, "the monthly limit of 10 recipients does not allow a message with 11")
		if err := allow(l, billing); err != nil {
			t.Errorf("at MAIL with 3 left: %v", err)
		}
		if err := send(l, billing, 3); err != nil {
			t.Fatal(err)
		}
		p.refuses(l, billing, 1, 550, usedUp10)
		wantReply(t, allow(l, billing), 550, usedUp10)
		time.Sleep(3 * time.Second)
		p.uses(l, billing, 10)
		p.refuses(l, billing, 1, 550, usedUp10)

		other := billing
		other.Tenant = "rival"
		p.sends(l, other, 10) // another tenant has a limit of its own

		time.Sleep(time.Hour - 10*time.Second)
		p.refuses(l, billing, 1, 550, usedUp10)
		time.Sleep(8 * time.Second)
		p.sends(l, billing, 10)
		p.refuses(l, billing, 1, 550, "the monthly limit of 10 recipients is used up (10 of 10); it begins anew on 1 February 2000 at 01:00 +0000")
	})
}

// A raise counts at once on every node, and with what was used before it. A lowered limit
// counts at once where it is known.
func TestRaise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProduct(t, limits.Limit{Max: 10})
		defer p.stop()
		a, b := p.node(), p.node()
		defer p.run(a)()
		defer p.run(b)()
		p.sends(a, billing, 10)
		time.Sleep(3 * time.Second)
		p.refuses(a, billing, 1, 550, usedUp10)
		p.refuses(b, billing, 1, 550, usedUp10)
		p.set(limits.Limit{Max: 12})
		if err := allow(a, billing); err != nil {
			t.Errorf("at MAIL after the raise: %v", err)
		}
		p.sends(a, billing, 1)
		p.sends(b, billing, 1)
		time.Sleep(3 * time.Second)
		p.refuses(b, billing, 1, 550, "the monthly limit of 12 recipients is used up (12 of 12); it begins anew on 1 February 2000")
		p.set(limits.Limit{Max: 100})
		p.sends(a, billing, 1)
		p.set(limits.Limit{Max: 11})
		a.Forget("acme")
		p.refuses(a, billing, 1, 550, "the monthly limit of 11 recipients is used up (13 of 11); it begins anew on 1 February 2000")
		if p.kept != 13 {
			t.Errorf("%d are kept, want 13", p.kept)
		}
	})
}

func TestScopesAndIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProduct(t,
			limits.Limit{Max: 20}, limits.Limit{Scope: limits.PerDomain, Interval: limits.Daily, Max: 12}, limits.Limit{Scope: limits.PerUser, Interval: limits.Hourly, Max: 5})
		defer p.stop()
		l := p.node()
		defer p.run(l)()
		second, elsewhere := billing, billing
		second.Username = "u2"
		elsewhere.Domain, elsewhere.Username = "acme.test", "u3"
		p.sends(l, billing, 3)
		p.refuses(l, billing, 3, 451, "the hourly limit of 5 recipients of this user leaves 2, and the message has 3; it begins anew on 1 January 2000 at 01:00 +0000")
		p.sends(l, billing, 2)
		const hourly = "the hourly limit of 5 recipients of this user is used up (5 of 5); it begins anew on 1 January 2000 at 01:00 +0000"
		p.refuses(l, billing, 1, 451, hourly)
		wantReply(t, allow(l, billing), 451, hourly)
		p.refuses(l, billing, 6, 550, "the hourly limit of 5 recipients of this user does not allow a message with 6")
		p.sends(l, second, 5)
		time.Sleep(time.Hour)
		p.sends(l, billing, 2)
		p.refuses(l, second, 1, 550, "the daily limit of 12 recipients of this domain is used up (12 of 12); it begins anew on 2 January 2000")
		p.sends(l, elsewhere, 5)
		time.Sleep(24 * time.Hour)
		p.sends(l, billing, 3)
		p.refuses(l, second, 1, 550, "the monthly limit of 20 recipients is used up (20 of 20); it begins anew on 1 February 2000")
		time.Sleep(2 * time.Second)
		used, err := l.Usage(t.Context(), billing)
		if err != nil || len(used) != 3 || used[0].Used != 20 || used[0].Percent() != 100 || used[1].Used != 3 || used[1].Percent() != 25 || used[2].Used != 3 {
			t.Errorf("Usage: got %+v, %v", used, err)
		}
	})
}

// Recipients that Next refuses are not counted. Those that it may have kept are not used
// again, and are free once that is certain.
func TestNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProduct(t, limits.Limit{Max: 10})
		defer p.stop()
		l := p.node()
		defer p.run(l)()
		for _, err := range []error{&relay.ReplyError{Code: 554, Text: "no"}, &relay.RefusedError{Recipients: make([]relay.RefusedRecipient, 1)}, store.ErrTaken, fmt.Errorf("put: %w", store.ErrFull)} {
			p.fail = err
			for range 30 {
				if got := send(l, billing, 3); !errors.Is(got, err) {
					t.Fatalf("got %v, want %v", got, err)
				}
			}
		}
		p.fail = nil
		p.sends(l, billing, 4)
		p.fail = errors.New("the answer is lost")
		for range 2 {
			send(l, billing, 2)
		}
		p.fail = nil
		p.sends(l, billing, 2)
		p.refuses(l, billing, 1, 451, "the monthly limit of 10 recipients is almost used up, and other messages hold the rest of it; try again later")
		time.Sleep(7 * time.Minute)
		p.sends(l, billing, 4)
		p.refuses(l, billing, 1, 550, usedUp10)
	})
}

// Recipients that a node holds and does not use are free for others after a while, even
// if the node is killed.
func TestHeldByOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProduct(t, limits.Limit{Max: 100})
		defer p.stop()
		idle, dead, l := p.node(), p.node(), p.node()
		defer p.run(idle)()
		defer p.run(l)()
		kill := p.run(dead)
		p.sends(idle, billing, 1)
		p.sends(dead, billing, 1)
		sent := 2
		for ; send(l, billing, 1) == nil; sent++ {
		}
		if sent >= 100 || sent < 75 {
			t.Errorf("%d are sent while two nodes hold something", sent)
		}
		time.Sleep(time.Minute) // idle and dead have given back
		for ; send(l, billing, 1) == nil; sent++ {
		}
		if sent != 100 {
			t.Errorf("%d are sent, want 100", sent)
		}
		kill()
	})
}

// A process that sends little holds no more than its share of a small limit, so that
// another one can use the rest.
func TestHoldsItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProduct(t, limits.Limit{Max: 100})
		defer p.stop()
		a, b := p.node(), p.node()
		defer p.run(a)()
		defer p.run(b)()
		for range 5 {
			p.sends(a, billing, 1)
			time.Sleep(29 * time.Second)
			list, err := p.st.Usages(t.Context(), "month/tenant/acme")
			if err != nil || len(list) != 1 || list[0].Held > 100/8 {
				t.Errorf("got %+v, %v, want %d held at most", list, err, 100/8)
			}
		}
		for send(b, billing, 1) == nil {
		}
		if p.kept < 100-100/8 {
			t.Errorf("%d of 100 are accepted while a process holds the rest", p.kept)
		}
		for range 20 { // a has its share of what was left
			time.Sleep(29 * time.Second)
			send(a, billing, 1)
		}
		for ; send(b, billing, 1) == nil; time.Sleep(time.Minute) {
		}
		if p.kept != 100 {
			t.Errorf("%d of 100 are accepted in the end", p.kept)
		}
	})
}

func TestLimitsFail(t *testing.T) {
	failure := errors.New("the product is down")
	l := &limits.Limiter{
		Store: new(memory.Store), Next: relay.ForwarderFunc(func(context.Context, *relay.Message) error { return nil }),
		Limits: func(context.Context, credentials.Identity) ([]limits.Limit, error) { return nil, failure },
	}
	if err := send(l, billing, 1); !errors.Is(err, failure) || !relay.Temporary(err) {
		t.Errorf("Forward: got %v", err)
	}
	if err := allow(l, billing); !errors.Is(err, failure) {
		t.Errorf("AllowUser: got %v", err)
	}
	for _, list := range [][]limits.Limit{{{Max: 1}, {Max: 2}}, {{Scope: 7}}, {{Interval: -1}}} {
		l.Limits = func(context.Context, credentials.Identity) ([]limits.Limit, error) { return list, nil }
		if err := send(l, billing, 1); err == nil || !relay.Temporary(err) {
			t.Errorf("%+v: got %v", list, err)
		}
	}
	l.Limits = func(context.Context, credentials.Identity) ([]limits.Limit, error) { return nil, nil }
	if err := send(l, billing, 1); err != nil {
		t.Errorf("without limits: %v", err)
	}
	l.Limits = func(context.Context, credentials.Identity) ([]limits.Limit, error) { return []limits.Limit{{}}, nil }
	l.Forget("acme")
	wantReply(t, allow(l, billing), 550, "the monthly limit of 0 recipients does not allow a message with 1")
	if err := send(new(limits.Limiter), billing, 1); err == nil {
		t.Error("a Limiter without fields takes a message")
	}
	if err := new(limits.Limiter).Run(t.Context()); err == nil {
		t.Error("a Limiter without fields runs")
	}
}

// slow answers a call of Reserve after two seconds.
type slow struct{ store.Allowances }

func (s slow) Reserve(ctx context.Context, r store.Reservation) (store.Reserved, error) {
	got, err := s.Allowances.Reserve(ctx, r)
	time.Sleep(2 * time.Second)
	return got, err
}

// A grant may be retired while more is reserved of it.
func TestRetiredDuringReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProduct(t, limits.Limit{Max: 10})
		defer p.stop()
		l := p.node()
		l.Store = slow{l.Store}
		l.Next = relay.ForwarderFunc(func(ctx context.Context, m *relay.Message) error {
			if len(m.To) == 2 {
				time.Sleep(time.Second)
				panic("not kept")
			}
			if grants, err := store.ParseGrants(m.Grants); err != nil || len(grants) != 1 {
				t.Errorf("charged to %+v, %v", grants, err)
			}
			return p.keep(ctx, m)
		})
		panicked := make(chan any, 1)
		go func() {
			defer func() { panicked <- recover() }()
			send(l, billing, 2)
		}()
		time.Sleep(2500 * time.Millisecond)
		send(l, billing, 3) // the grant is retired while this one reserves
		if got := <-panicked; got != "not kept" {
			t.Errorf("the panic of Next became %v", got)
		}
		time.Sleep(7 * time.Minute)
		for send(l, billing, 1) == nil {
		}
		if p.kept != 10 {
			t.Errorf("%d are kept, want 10", p.kept)
		}
	})
}
