package memory

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

var _ store.Spool = (*Store)(nil)

// A spool is the mail of a Store. Lease and Settle cost the same however much
// there is, but for a logarithm; lists and Depth look at everything.
type spool struct {
	mu    sync.Mutex
	mails map[string]*mail
	ready readyHeap // the deliveries that aren't held
}

type mail struct {
	store.Mail
	content    []byte
	deliveries []*delivery // by N; nil: settled
	left       int         // not settled
}

type delivery struct {
	store.Delivery
	at int // its place in the heap; -1: it isn't there
}

// ready is when the delivery can be leased, if it isn't held.
func (d *delivery) ready() time.Time {
	if d.LeasedUntil.After(d.Next) {
		return d.LeasedUntil
	}
	return d.Next
}

// Put implements [store.Spool].
func (s *Store) Put(ctx context.Context, m store.Mail, deliveries []store.Delivery, body io.Reader) error {
	if n := len(deliveries); n == 0 || n > store.MaxDeliveries {
		return fmt.Errorf("memory: put: a mail can't have %d deliveries", n)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	content, err := readAll(body, m.Size)
	if err != nil {
		return fmt.Errorf("memory: put: %w", err)
	}
	if err := s.spool.lock(ctx); err != nil {
		return err
	}
	defer s.spool.mu.Unlock()
	if s.spool.mails[m.ID] != nil {
		return nil
	}
	kept := &mail{Mail: m, content: content, left: len(deliveries)}
	for n, d := range deliveries {
		d.Mail, d.N = m.ID, n
		entry := &delivery{Delivery: d, at: -1}
		kept.deliveries = append(kept.deliveries, entry)
		s.spool.place(entry)
	}
	s.spool.mails[m.ID] = kept
	return nil
}

// readAll reads exactly size bytes, after which r must end. The buffer grows
// with what comes, not with what was announced.
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
	return io.NopCloser(bytes.NewReader(m.content)), nil
}

// Lease implements [store.Spool].
func (s *Store) Lease(ctx context.Context, now, until time.Time, limit int) ([]store.Leased, error) {
	if err := s.spool.lock(ctx); err != nil {
		return nil, err
	}
	defer s.spool.mu.Unlock()
	var due []*delivery
	for len(due) < limit && len(s.spool.ready) > 0 && !s.spool.ready[0].ready().After(now) {
		due = append(due, heap.Pop(&s.spool.ready).(*delivery))
	}
	leased := make([]store.Leased, len(due))
	for i, d := range due {
		d.Lease++
		d.LeasedUntil = until
		s.spool.place(d)
		leased[i] = store.Leased{Mail: s.spool.mails[d.Mail].Mail, Delivery: d.Delivery}
	}
	return leased, nil
}

// Renew implements [store.Spool].
func (s *Store) Renew(ctx context.Context, leased []store.Delivery, until time.Time) (lost []store.Delivery, err error) {
	if err := s.spool.lock(ctx); err != nil {
		return nil, err
	}
	defer s.spool.mu.Unlock()
	for _, l := range leased {
		d := s.spool.find(l.Mail, l.N, l.Lease)
		if d == nil {
			lost = append(lost, l)
			continue
		}
		d.LeasedUntil = until
		s.spool.place(d)
	}
	return lost, nil
}

// Settle implements [store.Spool].
func (s *Store) Settle(ctx context.Context, outcomes []store.Outcome) (lost []store.Outcome, err error) {
	if err := s.spool.lock(ctx); err != nil {
		return nil, err
	}
	defer s.spool.mu.Unlock()
	for _, o := range outcomes {
		d := s.spool.find(o.Mail, o.N, o.Lease)
		switch {
		case d == nil:
			lost = append(lost, o)
		case o.Done:
			s.spool.remove(d)
		default:
			d.Lease++
			d.LeasedUntil = time.Time{}
			d.Next, d.Attempts, d.Delayed, d.Held, d.Reason = o.Next, o.Attempts, o.Delayed, o.Held, o.Reason
			s.spool.place(d)
		}
	}
	return lost, nil
}

// Deliveries implements [store.Spool].
func (s *Store) Deliveries(ctx context.Context, tenant store.TenantID, page store.Page) ([]store.Leased, error) {
	if err := s.spool.lock(ctx); err != nil {
		return nil, err
	}
	defer s.spool.mu.Unlock()
	var list []store.Leased
	for _, m := range s.spool.mails {
		if tenant != "" && m.Tenant != tenant {
			continue
		}
		for _, d := range m.deliveries {
			if d != nil && d.Key() > page.After {
				list = append(list, store.Leased{Mail: m.Mail, Delivery: d.Delivery})
			}
		}
	}
	slices.SortFunc(list, func(a, b store.Leased) int {
		return cmp.Or(strings.Compare(a.Mail.ID, b.Mail.ID), cmp.Compare(a.Delivery.N, b.Delivery.N))
	})
	return list[:min(len(list), page.Size())], nil
}

// Depth implements [store.Spool].
func (s *Store) Depth(ctx context.Context) (store.Depth, error) {
	if err := s.spool.lock(ctx); err != nil {
		return store.Depth{}, err
	}
	defer s.spool.mu.Unlock()
	var depth store.Depth
	for _, m := range s.spool.mails {
		depth.Deliveries += int64(m.left)
		if depth.Oldest.IsZero() || m.Received.Before(depth.Oldest) {
			depth.Oldest = m.Received
		}
	}
	depth.Held = depth.Deliveries - int64(len(s.spool.ready))
	return depth, nil
}

// lock locks the spool, or returns ctx's error if ctx has ended. The first
// call makes the map.
func (s *spool) lock(ctx context.Context) error {
	s.mu.Lock()
	if err := ctx.Err(); err != nil {
		s.mu.Unlock()
		return err
	}
	if s.mails == nil {
		s.mails = make(map[string]*mail)
	}
	return nil
}

// find returns the delivery if it is still under that lease, or nil.
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

// place puts the delivery where it belongs in the heap, now that it is new or
// has changed.
func (s *spool) place(d *delivery) {
	switch {
	case d.Held && d.at >= 0:
		heap.Remove(&s.ready, d.at)
	case d.Held:
	case d.at >= 0:
		heap.Fix(&s.ready, d.at)
	default:
		heap.Push(&s.ready, d)
	}
}

// remove removes the delivery and, if it was the last, its mail.
func (s *spool) remove(d *delivery) {
	if d.at >= 0 {
		heap.Remove(&s.ready, d.at)
	}
	m := s.mails[d.Mail]
	m.deliveries[d.N] = nil
	if m.left--; m.left == 0 {
		delete(s.mails, d.Mail)
	}
}

// A readyHeap has the delivery on top that can be leased first. It implements
// [heap.Interface].
type readyHeap []*delivery

func (h readyHeap) Len() int { return len(h) }

func (h readyHeap) Less(i, j int) bool {
	return cmp.Or(h[i].ready().Compare(h[j].ready()), strings.Compare(h[i].Mail, h[j].Mail), cmp.Compare(h[i].N, h[j].N)) < 0
}

func (h readyHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

func (h *readyHeap) Push(d any) {
	d.(*delivery).at = len(*h)
	*h = append(*h, d.(*delivery))
}

func (h *readyHeap) Pop() any {
	last := len(*h) - 1
	d := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	d.at = -1
	return d
}
