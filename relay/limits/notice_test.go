package limits_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay/limits"
)

// A teller notes what OnNotice was told.
type teller struct {
	mu   sync.Mutex
	list []string
	fail int // so many calls fail, every other one with a panic
}

func (t *teller) notify(_ context.Context, n limits.Notice) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fail--; t.fail >= 0 {
		if t.fail%2 == 0 {
			panic("no mail")
		}
		return errors.New("no mail")
	}
	t.list = append(t.list, fmt.Sprintf("%s/%s %d%% of %d until %s", n.Identity.Tenant, n.Identity.Username, n.Percent, n.Usage.Max, n.Usage.End.Format("01-02")))
	return nil
}

func (t *teller) sort() {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.Sort(t.list)
}

func (t *teller) failing(calls int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fail = calls
}

func (t *teller) told(test *testing.T, want ...string) {
	test.Helper()
	time.Sleep(5 * time.Second)
	t.mu.Lock()
	defer t.mu.Unlock()
	if !slices.Equal(t.list, want) {
		test.Errorf("told %q, want %q", t.list, want)
	}
	t.list = nil
}

func TestNotices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProduct(t, limits.Limit{Max: 100}, limits.Limit{Scope: limits.PerUser, Interval: limits.Hourly, Max: 1000})
		defer p.stop()
		var told teller
		a, b := p.node(), p.node()
		a.OnNotice, b.OnNotice = told.notify, told.notify
		defer p.run(a)()
		stop := p.run(b)
		defer func() { stop() }()
		p.sends(a, billing, 40)
		p.sends(b, billing, 39)
		told.told(t)
		p.sends(b, billing, 1)
		told.told(t, "acme/ 80% of 100 until 02-01")
		p.sends(a, billing, 5)
		told.told(t)
		time.Sleep(time.Minute)
		p.sends(a, billing, 15) // over two of them: only the higher is told
		told.told(t, "acme/ 100% of 100 until 02-01")
		send(a, billing, 1)
		send(b, billing, 1)
		told.told(t)

		p.set(limits.Limit{Max: 200})
		p.sends(b, billing, 59)
		told.told(t)
		told.failing(2)
		p.sends(b, billing, 1)
		time.Sleep(5 * time.Second)
		told.told(t, "acme/ 80% of 200 until 02-01")
		p.sends(b, billing, 20) // and at once
		stop()                  // so there is no notice
		time.Sleep(time.Minute)
		c := p.node()
		c.OnNotice = told.notify
		stop = p.run(c)
		told.told(t)
		p.sends(c, billing, 1)
		told.told(t, "acme/ 90% of 200 until 02-01")
	})
}

// A notice is given once the journal is applied, however long that takes, and for each
// kind of scope.
func TestNoticeLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProduct(t, limits.Limit{Scope: limits.PerUser, Interval: limits.Daily, Max: 10})
		p.stop()
		var told teller
		l := p.node()
		l.OnNotice = told.notify
		defer p.run(l)()
		p.sends(l, billing, 8)
		other := credentials.Identity{Tenant: "acme", Domain: "acme.example", Username: "u2"}
		p.sends(l, other, 10)
		for range 10 {
			time.Sleep(2 * time.Minute)
			told.told(t)
		}
		applyAll(t, p.st)
		time.Sleep(5 * time.Second)
		told.sort()
		told.told(t, "acme/u1 80% of 10 until 01-02", "acme/u2 100% of 10 until 01-02")
	})
}

// The Store is not asked again and again for notices that are not due, and what a process
// remembers of a limit is forgotten after a while.
func TestNothingToTell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProduct(t, limits.Limit{Max: 100})
		p.stop()
		var told teller
		l, silent := p.node(), p.node()
		l.OnNotice = told.notify
		defer p.run(l)()
		defer p.run(silent)()
		p.sends(l, billing, 79)
		p.sends(silent, billing, 1)
		p.set(limits.Limit{Max: 200}) // before history applies
		applyAll(t, p.st)
		told.told(t)
		time.Sleep(time.Minute)
		before := p.count.looked()
		time.Sleep(10 * time.Minute)
		if n := p.count.looked() - before; n > 0 {
			t.Errorf("%d calls of Usages in ten minutes", n)
		}
		if n := l.Allowances() + silent.Allowances(); n > 0 {
			t.Errorf("%d allowances are remembered", n)
		}
	})
}

// A limit that is gone is not told, and neither is a period that has another beginning by
// now.
func TestNoticeAfterAChange(t *testing.T) {
	for name, list := range map[string][]limits.Limit{
		"gone":           {{Scope: limits.PerUser, Max: 10}},
		"another anchor": {{Max: 10, Anchor: time.Date(1999, 12, 15, 0, 0, 0, 0, time.UTC)}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newProduct(t, limits.Limit{Max: 10})
				p.stop()
				var told teller
				l := p.node()
				l.OnNotice = told.notify
				defer p.run(l)()
				p.sends(l, billing, 10)
				p.set(list...)
				applyAll(t, p.st)
				told.told(t)
				time.Sleep(time.Minute)
				before := p.count.looked()
				told.told(t)
				if n := p.count.looked() - before; n > 0 {
					t.Errorf("%d calls of Usages", n)
				}
				p.set(limits.Limit{Max: 10}) // as it was
				p.refuses(l, billing, 1, 550, usedUp10)
				told.told(t, "acme/ 100% of 10 until 02-01")
			})
		})
	}
}
