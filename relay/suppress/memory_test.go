package suppress_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// counting counts the calls of a Store that read.
type counting struct {
	store.Suppressions
	lookups, pages, changes atomic.Int64
	hang                    chan bool // if not nil, a page that was read waits for it
}

func (c *counting) Suppression(ctx context.Context, tenant store.TenantID, address string) (store.Suppression, error) {
	c.lookups.Add(1)
	return c.Suppressions.Suppression(ctx, tenant, address)
}

func (c *counting) SuppressionsByKey(ctx context.Context, keys []store.SuppressionKey) ([]store.Suppression, error) {
	c.lookups.Add(1)
	return c.Suppressions.SuppressionsByKey(ctx, keys)
}

func (c *counting) ListSuppressions(ctx context.Context, tenant store.TenantID, f store.SuppressionFilter, page store.Page) ([]store.Suppression, error) {
	c.pages.Add(1)
	list, err := c.Suppressions.ListSuppressions(ctx, tenant, f, page)
	if c.hang != nil {
		<-c.hang
	}
	return list, err
}

func (c *counting) SuppressionsSince(ctx context.Context, tenant store.TenantID, changed time.Time, limit int) ([]store.Suppression, error) {
	c.changes.Add(1)
	return c.Suppressions.SuppressionsSince(ctx, tenant, changed, limit)
}

// reads reports calls of the Store that differ from what is wanted since the last call.
func (c *counting) reads(t *testing.T, lookups, pages, changes int64) {
	t.Helper()
	got := [3]int64{c.lookups.Swap(0), c.pages.Swap(0), c.changes.Swap(0)}
	if want := [3]int64{lookups, pages, changes}; got != want {
		t.Errorf("the Store was read %v times (by address, by page, by change), want %v", got, want)
	}
}

// nodes returns two lists on one Store, as in two processes.
func nodes(t *testing.T) (a, b *list, c *counting) {
	a, b = newList(t), newList(t)
	c = &counting{Suppressions: b.Store}
	a.Store, b.Store, b.n = c.Suppressions, c, 1000
	return a, b, c
}

// A recipient that is not on the list costs no query.
func TestReadsOfTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c := nodes(t)
		a.add("acme", "bob@example.net")
		b.allowed("eve@example.net")
		c.reads(t, 0, 1, 0)
		for i := range 1000 {
			b.allowed(fmt.Sprintf("u%d@example.net", i))
		}
		c.reads(t, 0, 0, 0)
		b.refused("bob@example.net")
		c.reads(t, 1, 0, 0)
		for range 10 { // seconds
			b.allowed("eve@example.net")
			time.Sleep(time.Second)
		}
		c.reads(t, 0, 0, 1)
		time.Sleep(time.Hour)
		b.allowed("eve@example.net")
		c.reads(t, 0, 1, 0)
	})
}

// Learn reads the Store a few times, however many addresses and tenants the events have.
func TestLearnReadsOnce(t *testing.T) {
	_, b, c := nodes(t)
	var events []store.Event
	for i := range 2000 {
		e := b.delivered(fmt.Sprintf("u%d@example%d.net", i, i))
		switch {
		case i%10 == 0:
			e = b.bounced(e.Recipient, noSuchUser)
		case i < 1000:
			e.Tenant = store.TenantID(fmt.Sprint("tenant", i%500))
		}
		events = append(events, e)
	}
	b.learn(events...)
	c.reads(t, 2, 1, 0) // 1,000 addresses each, and the list of the tenant with many deliveries
	b.refused("u10@example10.net")
	c.reads(t, 1, 0, 0)
}

// Another node's changes count: a removal at once, an addition within Refresh.
func TestOtherNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, _ := nodes(t)
		b.allowed("bob@example.net", "eve@example.net")
		time.Sleep(time.Second)
		a.add("acme", "bob@example.net")
		a.learn(a.bounced("eve@example.net", noSuchUser))
		a.refused("bob@example.net", "eve@example.net")
		time.Sleep(4 * time.Second)
		b.refused("bob@example.net", "eve@example.net")
		for _, addr := range []string{"bob@example.net", "eve@example.net"} {
			if err := a.Remove(t.Context(), "acme", addr); err != nil {
				t.Fatal(err)
			}
		}
		b.allowed("bob@example.net", "eve@example.net")

		b.Refresh = time.Minute
		time.Sleep(time.Minute)
		b.allowed("carol@example.net")
		a.add("acme", "carol@example.net")
		time.Sleep(59 * time.Second)
		b.allowed("carol@example.net") // this and no earlier
		time.Sleep(time.Second)
		b.refused("carol@example.net")
	})
}

// A change whose writer has a slow clock, or was slow, is noticed as well.
func TestLateChangesByOtherNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, _ := nodes(t)
		b.allowed("bob@example.net")
		now := time.Now().UTC()
		su := store.Suppression{Tenant: "acme", Address: "bob@example.net", Source: store.SuppressedByPerson, Since: now, Changed: now.Add(-50 * time.Second)}
		if lost, err := a.Store.Suppress(t.Context(), []store.Suppression{su}); err != nil || len(lost) > 0 {
			t.Fatal(lost, err)
		}
		time.Sleep(5 * time.Second)
		b.refused("bob@example.net")
	})
}

// More changes than are read at once are all noticed.
func TestManyChangesByOtherNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, _ := nodes(t)
		b.allowed("u0@example.net")
		var all []string
		for i := range 2500 {
			all = append(all, fmt.Sprintf("u%d@example.net", i))
		}
		a.add("acme", all...)
		time.Sleep(5 * time.Second)
		b.refused(all...)
	})
}

// While one goroutine reads a list, the others do not wait for it: they look into the
// Store. An address that is added in that time is
// remembered.
func TestReadingDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c := nodes(t)
		a.add("acme", "bob@example.net")
		c.hang = make(chan bool)
		go b.allowed("eve@example.net")
		synctest.Wait()
		b.refused("bob@example.net")
		b.allowed("carol@example.net")
		b.add("acme", "carol@example.net")
		b.refused("carol@example.net")
		c.hang <- true
		synctest.Wait()
		c.reads(t, 4, 1, 0)
		b.refused("carol@example.net", "bob@example.net")
		b.allowed("eve@example.net")
	})
}

// The memory is bounded: the tenant that has not sent for longest is forgotten, and a
// very long list is not remembered.
func TestMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c := nodes(t)
		b.MaxMemory = 100
		for i := range 4 {
			for n := range 20 {
				a.add(store.TenantID(fmt.Sprintf("t%d", i)), fmt.Sprintf("u%d@example.net", n))
			}
		}
		asks := func(tenants ...store.TenantID) {
			for _, tenant := range tenants {
				ask(t, b.List, tenant, "eve@example.net")
			}
		}
		asks("t0", "t1") // each counts for 36
		c.reads(t, 0, 2, 0)
		asks("t0", "t1", "t0")
		c.reads(t, 0, 0, 0)
		asks("t2", "t0", "t2")
		c.reads(t, 0, 1, 0)
		asks("t1")
		c.reads(t, 0, 1, 0)

		var all []string
		for n := range 60 {
			all = append(all, fmt.Sprintf("u%d@example.net", n))
		}
		a.add("acme", all...)
		b.allowed("eve@example.net")
		c.reads(t, 1, 1, 0)
		b.refused(all...)
		b.allowed("eve@example.net")
		c.reads(t, 61, 0, 0)
	})
}

// A slowStore takes longer to list a tenant's addresses than a client waits.
type slowStore struct{ *memory.Store }

func (slowStore) ListSuppressions(ctx context.Context, _ store.TenantID, _ store.SuppressionFilter, _ store.Page) ([]store.Suppression, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// A list that takes too long to read delays one client, and does not refuse the mail of
// all that follow: each of their recipients is looked up.
func TestListThatIsSlowToRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newList(t)
		l.Store = slowStore{new(memory.Store)}
		if err := l.Add(t.Context(), "acme", "bob@example.net", store.SuppressedByPerson, ""); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		r := &relay.PolicyRequest{Client: relay.Client{Identity: credentials.Identity{Tenant: "acme"}}, Address: "eve@example.net"}
		if err := l.AllowRecipient(ctx, r); err == nil {
			t.Error("allowed although the list is not known")
		}
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := l.AllowRecipient(ctx, r); err != nil {
				t.Errorf("the next client was told %v", err)
			}
		}
		l.refused("bob@example.net")
	})
}
