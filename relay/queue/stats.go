package queue

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
)

// Stats describes a [Queue] and its Spool. Depth and Suspensions are from the Spool,
// so they are the same for all nodes. All other fields are about this process only.
// The counts start at 0 and only grow. Only Suspensions names tenants and destinations.
// Later versions may add fields.
type Stats struct {
	// Each of these counts events of the type of the same name.
	Queued, Delivered, Deferred, Bounced, Expired, Held, Released, Retried, Canceled, Suspended, Resumed int64

	Attempts int // attempts that this process makes now, each for one message and destination

	AttemptSeconds  relay.Histogram // how long attempts took, in seconds
	DeliverySeconds relay.Histogram // ages of messages when they were delivered to a recipient, in seconds

	Depth       store.Depth        // how much the Spool holds
	Suspensions []store.Suspension // tenants and destinations that are suspended
}

// counters is the part of Stats that events and attempts change.
type counters struct {
	mu    sync.Mutex
	stats Stats // its histograms are empty before the first event or call of Stats
}

// Stats returns a snapshot. It may be called at any time, also before Run and after
// it. It asks the Spool. If the Spool fails, Stats returns the error together with
// everything else; Depth and Suspensions are zero then.
func (q *Queue) Stats(ctx context.Context) (Stats, error) {
	stats := q.counters.snapshot()
	q.dispatcher.mu.Lock()
	stats.Attempts = q.dispatcher.working
	q.dispatcher.mu.Unlock()
	if q.Spool == nil {
		return stats, q.checkFields()
	}
	depth, err := q.Spool.Depth(ctx)
	if err != nil {
		return stats, fmt.Errorf("queue: %w", err)
	}
	suspensions, err := q.Spool.Suspensions(ctx)
	if err != nil {
		return stats, fmt.Errorf("queue: %w", err)
	}
	stats.Depth, stats.Suspensions = depth, suspensions
	return stats, nil
}

func (c *counters) snapshot() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setUp()
	stats := c.stats
	stats.AttemptSeconds = stats.AttemptSeconds.Clone()
	stats.DeliverySeconds = stats.DeliverySeconds.Clone()
	return stats
}

// setUp makes what the zero value lacks. The caller must hold c.mu.
func (c *counters) setUp() {
	if c.stats.AttemptSeconds.Counts == nil {
		c.stats.AttemptSeconds = relay.NewHistogram(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
		c.stats.DeliverySeconds = relay.NewHistogram(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 4*3600, 24*3600)
	}
}

// tried counts how long an attempt took.
func (c *counters) tried(took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setUp()
	c.stats.AttemptSeconds.Observe(took.Seconds())
}

// count counts an event that happened at this time.
func (c *counters) count(e Event, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setUp()
	switch e := e.(type) {
	case *Queued:
		c.stats.Queued++
	case *Delivered:
		c.stats.Delivered++
		c.stats.DeliverySeconds.Observe(max(0, now.Sub(e.Received).Seconds()))
	case *Deferred:
		c.stats.Deferred++
	case *Bounced:
		c.stats.Bounced++
	case *Expired:
		c.stats.Expired++
	case *Held:
		c.stats.Held++
	case *Released:
		c.stats.Released++
	case *Retried:
		c.stats.Retried++
	case *Canceled:
		c.stats.Canceled++
	case *Suspended:
		c.stats.Suspended++
	case *Resumed:
		c.stats.Resumed++
	}
}
