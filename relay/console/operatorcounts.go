package console

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// counts remembers how much mail waits in each lane. Counting a million deliveries takes
// longer than a page may take, so pages show the last count and when it was made, and
// at most one goroutine makes the next.
type counts struct {
	mu      sync.Mutex
	list    []store.Backlog
	at      time.Time     // when list was counted; zero if it never was
	took    time.Duration // how long that took
	version int           // how many changes were made
	counted int           // the version when the count of list began
	busy    chan struct{} // closed when the goroutine that counts is done; nil if none does
}

const (
	quickCount = 50 * time.Millisecond // a count that takes less is made for each page
	countTime  = time.Minute           // how long a count may take
)

// A counter counts what waits.
type counter func(context.Context) ([]store.Backlog, error)

// get returns a count and when it was made. The count has each change that was made
// before the call.
func (c *counts) get(ctx context.Context, count counter) ([]store.Backlog, time.Time, error) {
	c.mu.Lock()
	wanted := c.version
	c.mu.Unlock()
	for {
		busy, wait := c.begin(ctx, count)
		if wait {
			select {
			case <-busy:
			case <-ctx.Done():
				return nil, time.Time{}, ctx.Err()
			}
		}
		c.mu.Lock()
		list, at, old := c.list, c.at, c.counted < wanted
		c.mu.Unlock()
		switch {
		case at.IsZero():
			return nil, at, errUnread
		case !old: // otherwise the count began before a change
			return list, at, nil
		}
	}
}

// begin starts a goroutine that counts, if the last count is old and none counts yet.
// If the caller must wait for that goroutine, begin returns true.
func (c *counts) begin(ctx context.Context, count counter) (busy chan struct{}, wait bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	stale := c.counted < c.version
	if !c.at.IsZero() && !stale && time.Since(c.at) < 10*c.took && c.took > quickCount {
		return nil, false
	}
	if c.busy == nil {
		c.busy = make(chan struct{})
		go c.count(context.WithoutCancel(ctx), count, c.version, c.busy)
	}
	return c.busy, c.at.IsZero() || stale || c.took <= quickCount
}

// count counts, and remembers that the count began at a version.
func (c *counts) count(ctx context.Context, count counter, version int, done chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, countTime)
	defer cancel()
	defer close(done)
	began := time.Now()
	list, err := count(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = nil
	if err != nil {
		c.at = time.Time{}
		return
	}
	c.list, c.at, c.took, c.counted = list, time.Now(), time.Since(began), version
}

// changed says that the last count is not true any more, nor is one under way.
func (c *counts) changed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version++
}

// backlogs returns how much waits in each lane, and when that was counted.
func (req *request) backlogs() ([]store.Backlog, time.Time, error) {
	return req.op.counts.get(req.ctx(), func(ctx context.Context) ([]store.Backlog, error) {
		list, err := req.op.Queue.Spool.Backlogs(ctx)
		if err != nil {
			req.site.logger.ErrorContext(ctx, "console: cannot count what waits", "error", err)
		}
		return list, err
	})
}

// A group is what waits of one tenant, or for one destination.
type group struct {
	Name   string
	Others int // how many destinations the tenant has mail for, or tenants the destination
	store.Backlog
	State suspensionState
}

// groupsOf adds up the lanes of each destination, or of each tenant. Those with the most
// mail come first.
func groupsOf(list []store.Backlog, byTenant bool) []group {
	groups := make(map[string]*group)
	for _, b := range list {
		name := b.Destination
		if byTenant {
			name = string(b.Tenant)
		}
		g := groups[name]
		if g == nil {
			g = &group{Name: name, Backlog: store.Backlog{Oldest: b.Oldest}}
			groups[name] = g
		}
		g.Others++
		g.Deliveries, g.Leased, g.Held = g.Deliveries+b.Deliveries, g.Leased+b.Leased, g.Held+b.Held
		if b.Oldest.Before(g.Oldest) {
			g.Oldest = b.Oldest
		}
	}
	sorted := make([]group, 0, len(groups))
	for _, g := range groups {
		sorted = append(sorted, *g)
	}
	slices.SortFunc(sorted, func(a, b group) int {
		return cmp.Or(cmp.Compare(b.Deliveries, a.Deliveries), cmp.Compare(a.Name, b.Name))
	})
	return sorted
}

// key says where in the list a group is.
func (g group) key() string { return strconv.FormatInt(g.Deliveries, 10) + ":" + g.Name }

// after returns the groups of a list that come after a key.
func groupsAfter(list []group, key string) []group {
	number, name, ok := strings.Cut(key, ":")
	n, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil {
		return list
	}
	i := slices.IndexFunc(list, func(g group) bool { return g.Deliveries < n || g.Deliveries == n && g.Name > name })
	if i < 0 {
		return nil
	}
	return list[i:]
}

// filterLanes returns the lanes of a tenant and a destination.
func filterLanes(list []store.Backlog, f store.Filter) []store.Backlog {
	var found []store.Backlog
	for _, b := range list {
		if (f.Tenant == "" || b.Tenant == f.Tenant) && (f.Destination == "" && !f.ToDestination || b.Destination == f.Destination) {
			found = append(found, b)
		}
	}
	return found
}
