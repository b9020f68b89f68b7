package memory

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/internal/spools"
)

var _ store.History = (*Store)(nil)

// A history is the journal of a Store and what was made of it. It shares the lock
// of the spool.
type history struct {
	ids        spools.RecordIDs
	records    []store.Record // by ID
	aside      []store.Record
	claims     map[string]claim
	activities map[store.ActivityKey]store.Activity
	counts     map[countKey]store.Count
	usages     map[usageKey]store.Usage // Held is summed up when it is read
	grants     map[string]*grant
}

type claim struct {
	who   string
	until time.Time
}

type countKey struct {
	tenant           store.TenantID
	hour             int64 // in microseconds, as times of one moment may differ
	domain, username string
}

// record keeps events. The caller must hold the lock of the spool.
func (h *history) record(events []store.Event) {
	if len(events) == 0 {
		return
	}
	r := store.Record{ID: h.ids.Next(time.Now()), Events: slices.Clone(events)}
	for i := range r.Events {
		r.Events[i].ID = fmt.Sprintf("%s_%d", r.ID, i)
	}
	h.records = append(h.records, r)
}

// find returns the index of a record, or -1.
func (h *history) find(id string) int {
	i, ok := slices.BinarySearchFunc(h.records, id, func(r store.Record, id string) int { return strings.Compare(r.ID, id) })
	if !ok {
		return -1
	}
	return i
}

// Record implements [store.History].
func (s *Store) Record(ctx context.Context, events []store.Event) error {
	if err := s.spool.lock(ctx); err != nil {
		return err
	}
	defer s.spool.mu.Unlock()
	s.spool.history.record(events)
	return nil
}

// Records implements [store.History].
func (s *Store) Records(ctx context.Context, limit int) ([]store.Record, error) {
	if err := s.spool.lock(ctx); err != nil {
		return nil, err
	}
	defer s.spool.mu.Unlock()
	var list []store.Record
	for _, r := range s.spool.history.records {
		if len(list) > 0 && limit <= 0 {
			break
		}
		limit -= len(r.Events)
		list = append(list, store.Record{ID: r.ID, Events: slices.Clone(r.Events)})
	}
	return list, nil
}

// SetAside implements [store.History].
func (s *Store) SetAside(ctx context.Context, record string) error {
	if err := s.spool.lock(ctx); err != nil {
		return err
	}
	defer s.spool.mu.Unlock()
	h := &s.spool.history
	if i := h.find(record); i >= 0 {
		h.aside = append(h.aside, h.records[i])
		h.records = slices.Delete(h.records, i, i+1)
	}
	return nil
}

// Restore implements [store.History].
func (s *Store) Restore(ctx context.Context) (restored int, err error) {
	if err := s.spool.lock(ctx); err != nil {
		return 0, err
	}
	defer s.spool.mu.Unlock()
	h := &s.spool.history
	restored = len(h.aside)
	h.records = append(h.records, h.aside...)
	slices.SortFunc(h.records, func(a, b store.Record) int { return strings.Compare(a.ID, b.ID) })
	h.aside = nil
	return restored, nil
}

// Journal implements [store.History].
func (s *Store) Journal(ctx context.Context) (store.Journal, error) {
	if err := s.spool.lock(ctx); err != nil {
		return store.Journal{}, err
	}
	defer s.spool.mu.Unlock()
	records := s.spool.history.records
	if len(records) == 0 {
		return store.Journal{}, nil
	}
	return store.Journal{Records: int64(len(records)), Oldest: spools.RecordTime(records[0].ID)}, nil
}

// Claim implements [store.History].
func (s *Store) Claim(ctx context.Context, work, who string, now, until time.Time) (bool, error) {
	if err := s.spool.lock(ctx); err != nil {
		return false, err
	}
	defer s.spool.mu.Unlock()
	h := &s.spool.history
	if c, ok := h.claims[work]; ok && c.who != who && c.until.After(now) {
		return false, nil
	}
	h.claims[work] = claim{who, until}
	return true, nil
}

// Apply implements [store.History].
func (s *Store) Apply(ctx context.Context, records []string, c store.Changes) error {
	if err := s.spool.lock(ctx); err != nil {
		return err
	}
	defer s.spool.mu.Unlock()
	h := &s.spool.history
	gone := make(map[string]bool)
	for _, id := range records {
		if gone[id] || h.find(id) < 0 {
			return store.ErrConflict
		}
		gone[id] = true
	}
	for i := range c.Activities {
		a := &c.Activities[i]
		have, ok := h.activities[keyOf(&a.Activity)]
		if a.Was != 0 && (!ok || have.Order != a.Was) || a.TrailWas != 0 && (!ok || len(have.Trail) != a.TrailWas) {
			return store.ErrConflict
		}
	}
	h.records = slices.DeleteFunc(h.records, func(r store.Record) bool { return gone[r.ID] })
	for i := range c.Activities {
		h.change(c.Activities[i])
	}
	for i := range c.Counts {
		h.count(c.Counts[i])
	}
	for i := range c.Charges {
		h.charge(c.Charges[i])
	}
	return nil
}

func keyOf(a *store.Activity) store.ActivityKey {
	return store.ActivityKey{Tenant: a.Tenant, Mail: a.Mail, N: a.N}
}

// change adds to an activity or makes it.
func (h *history) change(c store.ActivityChange) {
	c.Erased = false
	key := keyOf(&c.Activity)
	a, ok := h.activities[key]
	if !ok {
		h.activities[key] = c.Activity
		return
	}
	if c.TrailWas != 0 {
		a.Trail = ""
	}
	if c.Order > a.Order || c.Order == a.Order && c.Attempt > a.Attempt {
		a.State, a.Order, a.Updated, a.Attempt, a.NextAttempt = c.State, c.Order, c.Updated, c.Attempt, c.NextAttempt
		a.Reply, a.Field, a.Reason = c.Reply, c.Field, c.Reason
	}
	if c.Received.Before(a.Received) {
		a.Received = c.Received
	}
	fill(&a.Domain, c.Domain)
	fill(&a.Username, c.Username)
	fill(&a.From, c.From)
	fill(&a.Author, c.Author)
	fill(&a.Recipient, c.Recipient)
	fill(&a.Subject, c.Subject)
	fill(&a.MessageID, c.MessageID)
	fill(&a.Size, c.Size)
	a.Times += c.Times
	a.Trail += c.Trail
	if a.Erased {
		erase(&a)
	}
	h.activities[key] = a
}

// fill sets what is zero.
func fill[T comparable](to *T, value T) {
	var zero T
	if *to == zero {
		*to = value
	}
}

// erase removes what tells of the recipient.
func erase(a *store.Activity) {
	a.Erased = true
	a.Recipient, a.Reply.Text, a.Reason, a.Trail = "", "", "", ""
}

// count adds to a count.
func (h *history) count(c store.Count) {
	key := countKey{c.Tenant, c.Hour.UnixMicro(), c.Domain, c.Username}
	sum, ok := h.counts[key]
	if !ok {
		h.counts[key] = c
		return
	}
	sum.Add(c)
	h.counts[key] = sum
}
