package sqlstore

import (
	"context"
	"database/sql"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/internal/spools"
)

// A catalog is what a Store knows of the lanes that wait: finding those that are due by
// queries costs as much as there are lanes. It knows at once what this Store puts,
// settles and leases. What other processes do it learns by reading a part of the lanes in
// each Lease, all of them in turn. A lane that it believes to be due and that is not costs
// one look.
type catalog struct {
	mu    sync.Mutex
	used  bool // Lease was called
	lanes spools.Lanes

	outdated atomic.Bool // all lanes have to be read again

	reading  sync.Mutex    // held by the one call that reads lanes
	complete bool          // all lanes have been read once
	many     bool          // they were more than one page
	after    string        // the list that was read last
	at       time.Time     // when
	took     time.Duration // how long its page took
}

const (
	// firstRead is how long a Lease may read lanes while not all have been read once.
	firstRead = 5 * time.Second

	// readShare is how much of the time goes into reading lanes after that: one in so many
	// seconds, at most firstRead in one Lease. If all lanes are on one page, each Lease
	// reads it.
	readShare = 10
)

// note says that deliveries may have begun to wait, each due at the time.
func (c *catalog) note(lanes map[store.Lane]time.Time) {
	if len(lanes) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.used {
		return // the first Lease reads everything
	}
	for lane, next := range lanes {
		c.lanes.Note(lane, next)
	}
}

// isUsed reports whether note does anything.
func (c *catalog) isUsed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used
}

// readLanes reads the next lanes into the catalog.
func (s *Store) readLanes(ctx context.Context) error {
	c := &s.catalog
	c.reading.Lock()
	defer c.reading.Unlock()
	if c.outdated.Swap(false) {
		c.complete, c.after = false, ""
	}
	return c.readPages(func() (last bool, err error) { return s.readPage(ctx) })
}

// readPages calls page for as long as lanes may be read now, but not after the last of
// them. Calls of Lease may be far apart, so one page a call would not do. The caller must
// hold c.reading.
func (c *catalog) readPages(page func() (last bool, err error)) error {
	began, limit := time.Now(), firstRead
	if c.complete {
		since := began.Sub(c.at)
		if c.many && since < readShare*c.took {
			return nil
		}
		limit = min(limit, since/readShare)
	}
	for start := began; ; start = c.at {
		last, err := page()
		if err != nil {
			return err
		}
		c.at = time.Now()
		c.took = c.at.Sub(start)
		if last || c.at.Sub(began) >= limit {
			return nil
		}
	}
}

// readPage reads some lanes, and reports whether they were the last. The caller must hold
// c.reading.
func (s *Store) readPage(ctx context.Context) (last bool, err error) {
	c := &s.catalog
	c.mu.Lock()
	c.used = true
	noted := c.lanes.Noted()
	c.mu.Unlock()
	page, err := s.listPage(ctx, max(c.after, lanePrefix), laneEnd)
	if err != nil {
		return false, err
	}
	c.mu.Lock()
	for _, l := range page {
		c.lanes.Learn(noted, laneOf(l.name), l.next, true)
	}
	c.mu.Unlock()
	if last = len(page) < listsPage; last {
		c.complete, c.many, c.after = true, c.after != "", ""
	} else {
		c.after = page[len(page)-1].name
	}
	return last, nil
}

// learn takes over what a Lease has seen, after it has leased deliveries. It leaves out a
// lane if one of the deliveries that were found there was not leased: another call may yet
// give back what it has locked.
func (c *catalog) learn(seen look, leased []store.Leased) {
	for i := range leased {
		delete(seen.lanes, key{leased[i].Delivery.Mail, leased[i].Delivery.N})
	}
	for _, lane := range seen.lanes {
		delete(seen.next, lane)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for lane, at := range seen.next {
		c.lanes.Learn(seen.noted, lane, at, !at.IsZero())
	}
}

// waitingIn returns when the first of the deliveries of each lane is due that are about to
// wait.
func waitingIn(m *store.Mail, deliveries []store.Delivery) map[store.Lane]time.Time {
	var lanes map[store.Lane]time.Time
	for i := range deliveries {
		d := &deliveries[i]
		if d.Node != "" || d.Held || d.Deaths > 0 {
			continue
		}
		lane := store.Lane{Destination: d.Destination, Tenant: m.Tenant}
		if next, ok := lanes[lane]; ok && !d.Next.Before(next) {
			continue
		}
		if lanes == nil {
			lanes = make(map[store.Lane]time.Time)
		}
		lanes[lane] = d.Next
	}
	return lanes
}

var selectWaiting = keysQuery(`SELECT lane, MIN(next) FROM {deliveries} WHERE (mail, n) IN (...) AND list = lane GROUP BY lane`, 2)

// noteSettled notes the lanes of deliveries that were settled and wait again.
func (s *Store) noteSettled(ctx context.Context, ops []*operation) {
	var keys [][]any
	for _, op := range ops {
		for _, o := range op.outcomes {
			if !o.Done && !o.Held {
				keys = append(keys, []any{o.Mail, o.N})
			}
		}
	}
	if len(keys) == 0 || !s.catalog.isUsed() {
		return
	}
	lanes := make(map[store.Lane]time.Time)
	err := s.each(ctx, selectWaiting, keys, func(rows *sql.Rows) error {
		var lane string
		var micro int64
		err := rows.Scan(&lane, &micro)
		next := time.UnixMicro(micro)
		if first, ok := lanes[laneOf(lane)]; !ok || next.Before(first) {
			lanes[laneOf(lane)] = next
		}
		return err
	})
	s.catalog.note(lanes)
	if err != nil {
		s.catalog.outdated.Store(true)
	}
}
