package limits_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay/limits"
	"github.com/gatepost-mail/gatepost/store"
)

// A claimer notes who calls Claim. If it hangs, calls that give something back last until
// their context ends.
type claimer struct {
	store.Allowances
	mu    sync.Mutex
	who   []string
	hangs bool
}

func (c *claimer) Claim(ctx context.Context, work, who string, now, until time.Time) (bool, error) {
	c.mu.Lock()
	if !slices.Contains(c.who, who) {
		c.who = append(c.who, who)
	}
	hangs := c.hangs
	c.mu.Unlock()
	if hangs && !until.After(now) {
		<-ctx.Done()
		return false, ctx.Err()
	}
	return c.Allowances.Claim(ctx, work, who, now, until)
}

func (c *claimer) Release(ctx context.Context, g store.Grant, n int64) error {
	c.mu.Lock()
	hangs := c.hangs
	c.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	return c.Allowances.Release(ctx, g, n)
}

// A second Run returns an error, and the first one keeps its name.
func TestSecondRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProduct(t, limits.Limit{Max: 10})
		defer p.stop()
		var told teller
		l := p.node()
		c := &claimer{Allowances: l.Store}
		l.Store, l.OnNotice = c, told.notify
		defer p.run(l)()
		p.sends(l, billing, 8)
		told.told(t, "acme/ 80% of 10 until 02-01")
		if err := l.Run(t.Context()); err == nil || err.Error() != "limits: Run is being called already" {
			t.Errorf("a second Run at the same time returned %v", err)
		}
		p.sends(l, billing, 1)
		told.told(t, "acme/ 90% of 10 until 02-01")
		if len(c.who) != 1 {
			t.Errorf("%d names claim, want 1", len(c.who))
		}
	})
}

// Run ends within 5 seconds, even if the Store hangs.
func TestRunEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProduct(t, limits.Limit{Max: 10}, limits.Limit{Scope: limits.PerUser, Max: 1000})
		defer p.stop()
		l := p.node()
		c := &claimer{Allowances: l.Store, hangs: true}
		telling := make(chan bool)
		l.Store = c
		l.OnNotice = func(ctx context.Context, _ limits.Notice) error {
			close(telling)
			<-ctx.Done()
			return ctx.Err()
		}
		stop := p.run(l)
		p.sends(l, billing, 8)
		<-telling
		began := time.Now()
		stop()
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("Run took %v to end", took)
		}
	})
}

// A slow answer of Limits is remembered as others are.
func TestSlowLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProduct(t, limits.Limit{Max: 100})
		defer p.stop()
		l := p.node()
		l.Limits = func(ctx context.Context, id credentials.Identity) ([]limits.Limit, error) {
			time.Sleep(5 * time.Second)
			return p.of(ctx, id)
		}
		defer p.run(l)()
		var work sync.WaitGroup
		for range 10 {
			work.Go(func() { send(l, billing, 1) })
			time.Sleep(time.Second)
		}
		work.Wait()
		if p.asked > 2 || p.kept != 10 { // messages that came during the first call wait for the second
			t.Errorf("Limits was called %d times for %d messages, want twice at most for 10", p.asked, p.kept)
		}
	})
}

// Usages of a tenant that is gone are removed after 62 days.
func TestExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProduct(t, limits.Limit{Max: 100})
		p.stop()
		l := p.node()
		stop := p.run(l)
		p.sends(l, billing, 1)
		stop()
		for _, days := range []int{61, 2} {
			if list, err := p.st.Usages(t.Context(), "month/tenant/acme"); err != nil || len(list) != 1 {
				t.Errorf("got %+v, %v, want a usage", list, err)
			}
			time.Sleep(time.Duration(days) * 24 * time.Hour)
			stop := p.run(l)
			time.Sleep(2 * time.Minute)
			stop()
		}
		if list, err := p.st.Usages(t.Context(), "month/tenant/acme"); err != nil || len(list) != 0 {
			t.Errorf("got %+v, %v, want no usage", list, err)
		}
	})
}
