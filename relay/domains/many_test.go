package domains_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay/dkim"
	"github.com/gatepost-mail/gatepost/relay/domains"
	"github.com/gatepost-mail/gatepost/store"
)

// A due is a Setups in which n setups are due, each once.
type due struct {
	store.Setups
	n, next atomic.Int64
	written sync.Map
	count   atomic.Int64
	end     func()
}

var added = time.Date(2026, time.January, 2, 3, 4, 5, 0, time.UTC)

func (d *due) DueSetups(_ context.Context, _, until time.Time, limit int) (list []store.Setup, err error) {
	for range limit {
		i := d.next.Add(1)
		if i > d.n.Load() {
			break
		}
		list = append(list, store.Setup{
			Domain: fmt.Sprintf("d%d.example", i), Tenant: acme, Added: added, Version: 1, Next: until, State: string(domains.Unverified), Told: string(domains.Unverified), Token: "t",
		})
	}
	return list, nil
}

func (d *due) SetSetup(_ context.Context, s store.Setup) error {
	if _, twice := d.written.LoadOrStore(s.Domain, true); twice {
		return fmt.Errorf("%s was looked at twice", s.Domain)
	}
	if d.count.Add(1) == d.n.Load() {
		d.end()
	}
	return nil
}

func (d *due) Domain(_ context.Context, tenant store.TenantID, name string) (store.Domain, error) {
	return store.Domain{Tenant: tenant, Name: name, Created: added}, nil
}

// A counter is a Resolver that finds nothing but the product's zone, and counts the
// look-ups at once.
type counter struct{ now, most, all atomic.Int64 }

func (c *counter) LookupCNAME(_ context.Context, name string) (string, error) {
	now := c.now.Add(1)
	defer c.now.Add(-1)
	for most := c.most.Load(); now > most && !c.most.CompareAndSwap(most, now); most = c.most.Load() {
	}
	c.all.Add(1)
	runtime.Gosched()
	return "", &net.DNSError{IsNotFound: true, Name: name}
}

func (c *counter) LookupTXT(_ context.Context, name string) ([]string, error) {
	if len(name) > len(productZone)+1 && name[len(name)-len(productZone)-1:] == productZone+"." {
		return []string{record(sharedKey)[len("TXT "):]}, nil
	}
	return nil, &net.DNSError{IsNotFound: true, Name: name}
}

// However many domains are due at once, two nodes look at each once, at 64 at a time,
// and hold 200.
func TestManyDue(t *testing.T) {
	n := int64(5_000)
	if os.Getenv("GATEPOST_LONG") != "" {
		n = 30_000
	}
	ctx, stop := context.WithCancel(t.Context())
	st := &due{end: stop}
	st.n.Store(n)
	dns := new(counter)
	var wg sync.WaitGroup
	start := time.Now()
	for range 2 {
		m := &domains.Manager{
			Store: st, Domains: st, Zone: productZone, Shared: []dkim.Key{sharedKey}, Resolvers: []domains.Resolver{dns}, Logger: slog.New(slog.DiscardHandler),
		}
		wg.Go(func() {
			if err := m.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := st.count.Load(); got != n || dns.most.Load() > 64 {
		t.Errorf("looked at %d domains, at %d at once; want %d, at most 64 at once", got, dns.most.Load(), n)
	}
	t.Logf("%d domains took %v with %d look-ups of CNAMEs", n, time.Since(start), dns.all.Load())
}
