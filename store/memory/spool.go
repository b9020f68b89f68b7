package memory

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/internal/spools"
)

var _ store.Spool = (*Store)(nil)

// A spool is the mail of a Store. The cost of Lease grows with what it returns, and
// with the logarithm of the number of lanes and deliveries. A Lease with Probe or
// Received looks at everything that waits for the destination; lists, Depth and Backlogs
// look at everything.
type spool struct {
	mu          sync.Mutex
	mails       map[string]*mail
	lanes       map[string]map[store.TenantID]*lane // by destination: those that have waiting deliveries without Deaths
	index       spools.Lanes                        // of the same lanes
	deaths      map[int]set                         // the waiting deliveries with so many Deaths
	leased      map[string]set                      // by node
	held        int
	count       int
	nodes       map[string]store.Node
	suspensions map[suspended]store.Suspension
	submissions submissions
	history     history
}

type mail struct {
	store.Mail
	content    []byte
	digest     int64
	deliveries []*delivery // by N; nil: settled
	left       int         // not settled
}

type delivery struct {
	store.Delivery
	lane store.Lane
	at   int // its place in the lane's heap, if it is in one
}

type set = map[*delivery]struct{}

// A suspended is the key of a Suspension.
type suspended struct {
	tenant      store.TenantID
	destination string
}

// Put implements [store.Spool].
func (s *Store) Put(ctx context.Context, m store.Mail, deliveries []store.Delivery, body io.Reader, events ...store.Event) error {
	if err := spools.Check(&m, deliveries); err != nil {
		return fmt.Errorf("memory: put: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	summed := &spools.Summer{R: body}
	content, err := readAll(summed, m.Size)
	if err != nil {
		return fmt.Errorf("memory: put: %w", err)
	}
	if err := s.spool.lock(ctx); err != nil {
		return err
	}
	defer s.spool.mu.Unlock()
	digest := spools.Digest(&m, deliveries, summed.Sum)
	if there := s.spool.mails[m.ID]; there != nil {
		if there.Notice != m.Notice || !m.Notice && there.digest != digest {
			return fmt.Errorf("memory: put: another mail has the ID %q: %w", m.ID, store.ErrTaken)
		}
		return nil
	}
	if repeats, err := s.spool.submissions.take(&m); repeats || err != nil {
		return err
	}
	m.Key, m.Fingerprint = "", ""
	kept := &mail{Mail: m, content: content, digest: digest, left: len(deliveries)}
	for n, d := range deliveries {
		d.Mail, d.N = m.ID, n
		entry := &delivery{Delivery: d, lane: store.Lane{Destination: d.Destination, Tenant: m.Tenant}}
		kept.deliveries = append(kept.deliveries, entry)
		s.spool.place(entry)
	}
	s.spool.mails[m.ID] = kept
	s.spool.count += len(deliveries)
	s.spool.history.record(events)
	return nil
}

// readAll reads exactly size bytes, after which r must end. The buffer grows
// with what is read, not with size.
func readAll(r io.Reader, size int64) ([]byte, error) {
	var b bytes.Buffer
	n, err := io.Copy(&b, io.LimitReader(r, size))
	if err != nil {
		return nil, err
	}
	if n != size {
		return nil, fmt.Errorf("the content ends after %d of %d bytes", n, size)
	}
	switch n, err := io.CopyN(io.Discard, r, 1); {
	case n > 0:
		return nil, fmt.Errorf("the content goes on after %d bytes", size)
	case !errors.Is(err, io.EOF):
		return nil, err
	}
	return b.Bytes(), nil
}

// Body implements [store.Spool].
func (s *Store) Body(ctx context.Context, mail string) (io.ReadCloser, error) {
	if err := s.spool.lock(ctx); err != nil {
		return nil, err
	}
	defer s.spool.mu.Unlock()
	m, ok := s.spool.mails[mail]
	if !ok {
		return nil, store.ErrNotFound
	}
	return body{bytes.NewReader(m.content)}, nil
}

// A body is a content as Body returns it. It is an io.ReaderAt.
type body struct{ *bytes.Reader }

func (body) Close() error { return nil }

// Lease implements [store.Spool].
func (s *Store) Lease(ctx context.Context, r store.LeaseRequest) ([]store.Leased, error) {
	if err := s.spool.lock(ctx); err != nil {
		return nil, err
	}
	defer s.spool.mu.Unlock()
	return s.spool.lease(r), nil
}

func (s *spool) lease(r store.LeaseRequest) (leased []store.Leased) {
	take := func(d *delivery) {
		s.displace(d)
		d.Lease++
		d.Node, d.Tried = r.Node, r.Now
		d.Attempts++
		s.place(d)
		leased = append(leased, store.Leased{Mail: s.mails[d.Mail].Mail, Delivery: d.Delivery})
	}
	switch {
	case r.Limit <= 0:
	case r.Deaths > 0, r.Probe, r.Undelayed, !r.Received.IsZero():
		for _, d := range s.search(r) {
			take(d)
		}
	default:
		round := s.index.Begin(r.Now, r.Limit, spools.NewSkipped(r, s.suspended()))
		for wants := round.Wants(); len(wants) > 0; wants = round.Wants() {
			for _, w := range wants {
				l, n := s.lanes[w.Lane.Destination][w.Lane.Tenant], 0
				for ; n < w.Limit && l.isDue(r.Now); n++ {
					take((*l)[0])
				}
				round.Got(w, n, l.isDue(r.Now))
			}
		}
	}
	return leased
}

// search returns the deliveries that a request asks for that names them more closely.
func (s *spool) search(r store.LeaseRequest) []*delivery {
	if r.Deaths > 0 {
		list := slices.SortedFunc(maps.Keys(s.deaths[r.Deaths]), compare)
		return list[:min(len(list), r.Limit)]
	}
	skipped := spools.NewSkipped(r, s.suspended())
	var names []store.Lane
	found := make(map[store.Lane][]*delivery)
	for destination, lanes := range s.lanes {
		if r.Probe && destination != r.Destination {
			continue
		}
		for tenant, l := range lanes {
			name := store.Lane{Destination: destination, Tenant: tenant}
			if skipped.Has(name) {
				continue
			}
			if list := s.searchLane(*l, r); len(list) > 0 {
				names = append(names, name)
				found[name] = list
			}
		}
	}
	list, _ := spools.Take(names, r.Limit, func(wants []spools.Want) (got [][]*delivery, err error) {
		for _, w := range wants {
			n := min(w.Limit, len(found[w.Lane]))
			got = append(got, found[w.Lane][:n])
			found[w.Lane] = found[w.Lane][n:]
		}
		return got, nil
	})
	return list
}

// searchLane returns the first deliveries of a lane that the request asks for.
func (s *spool) searchLane(l lane, r store.LeaseRequest) (list []*delivery) {
	for _, d := range l {
		isDue := !d.Next.After(r.Now)
		if !r.Received.IsZero() {
			isDue = !s.mails[d.Mail].Received.Add(d.Idle).After(r.Received)
		}
		if isDue && !(r.Undelayed && d.Delayed) {
			list = append(list, d)
		}
	}
	slices.SortFunc(list, compare)
	return list[:min(len(list), r.Limit)]
}

// Settle implements [store.Spool].
func (s *Store) Settle(ctx context.Context, outcomes []store.Outcome) (lost []store.Outcome, err error) {
	if err := s.spool.lock(ctx); err != nil {
		return nil, err
	}
	defer s.spool.mu.Unlock()
	var events []store.Event
	defer func() { s.spool.history.record(events) }()
	for _, o := range outcomes {
		d := s.spool.find(o.Mail, o.N, o.Lease)
		if d == nil {
			lost = append(lost, o)
			continue
		}
		if o.Event != (store.Event{}) {
			events = append(events, o.Event)
		}
		s.spool.displace(d)
		if o.Done {
			s.spool.remove(d)
			continue
		}
		d.Lease++
		d.Node, d.Deaths = "", 0
		d.Next, d.Attempts, d.Delayed, d.Held, d.Idle, d.Reason = o.Next, o.Attempts, o.Delayed, o.Held, o.Idle, o.Reason
		s.spool.place(d)
	}
	return lost, nil
}

// lock locks the spool, or returns ctx's error if ctx has ended. The first
// call makes the maps.
func (s *spool) lock(ctx context.Context) error {
	s.mu.Lock()
	if err := ctx.Err(); err != nil {
		s.mu.Unlock()
		return err
	}
	if s.mails == nil {
		s.mails = make(map[string]*mail)
		s.lanes = make(map[string]map[store.TenantID]*lane)
		s.deaths = make(map[int]set)
		s.leased = make(map[string]set)
		s.nodes = make(map[string]store.Node)
		s.suspensions = make(map[suspended]store.Suspension)
		s.history.claims = make(map[string]claim)
		s.history.activities = make(map[store.ActivityKey]store.Activity)
		s.history.counts = make(map[countKey]store.Count)
		s.history.usages = make(map[usageKey]store.Usage)
		s.history.grants = make(map[string]*grant)
	}
	return nil
}

// find returns the delivery if its token is lease, or nil.
func (s *spool) find(mail string, n int, lease int64) *delivery {
	m := s.mails[mail]
	if m == nil || n < 0 || n >= len(m.deliveries) {
		return nil
	}
	d := m.deliveries[n]
	if d == nil || d.Lease != lease {
		return nil
	}
	return d
}

// remove removes the delivery and, if it was the last, its mail.
func (s *spool) remove(d *delivery) {
	s.count--
	m := s.mails[d.Mail]
	m.deliveries[d.N] = nil
	if m.left--; m.left == 0 {
		delete(s.mails, d.Mail)
	}
}

// compare orders deliveries by when they are due, and then by their keys.
func compare(a, b *delivery) int {
	return cmp.Or(a.Next.Compare(b.Next), strings.Compare(a.Mail, b.Mail), cmp.Compare(a.N, b.N))
}
