package memory

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/internal/spools"
)

var _ store.Allowances = (*Store)(nil)

// A usageKey names a usage. The period is in microseconds, as times of one moment may
// differ.
type usageKey struct {
	scope  string
	period int64
}

func usageKeyOf(scope string, period time.Time) usageKey {
	return usageKey{scope, period.UnixMicro()}
}

// A grant is what is left of a [store.Grant].
type grant struct {
	of     usageKey
	amount int64
	until  time.Time
}

// Reserve implements [store.Allowances].
func (s *Store) Reserve(ctx context.Context, r store.Reservation) (store.Reserved, error) {
	if err := s.spool.lock(ctx); err != nil {
		return store.Reserved{}, err
	}
	defer s.spool.mu.Unlock()
	h := &s.spool.history
	key := usageKeyOf(r.Scope, r.Period)
	u, ok := h.usages[key]
	if !ok {
		h.forget(r.Scope, r.Forget)
		u = store.Usage{Scope: r.Scope, Period: r.Period, Used: r.Used}
	}
	u.Used = max(u.Used, r.Used)
	h.usages[key] = u
	h.dropEnded(key, r.Ended)
	u = h.usage(key)
	given := max(0, min(r.Want, r.Max-u.Used-u.Held))
	g, ok := h.grants[r.ID]
	if !ok {
		g = &grant{of: key}
		h.grants[r.ID] = g
	}
	g.amount += given
	g.until = r.Until
	return store.Reserved{Given: given, Mine: g.amount, Usage: h.usage(key)}, nil
}

// forget removes usages of periods that began before a time.
func (h *history) forget(scope string, before time.Time) {
	maps.DeleteFunc(h.usages, func(key usageKey, _ store.Usage) bool {
		return key.scope == scope && key.period < before.UnixMicro()
	})
	maps.DeleteFunc(h.grants, func(_ string, g *grant) bool {
		return g.of.scope == scope && g.of.period < before.UnixMicro()
	})
}

// dropEnded drops the grants that nothing will be charged to any more.
func (h *history) dropEnded(key usageKey, ended time.Time) {
	if len(h.records) > 0 {
		if oldest := spools.RecordTime(h.records[0].ID); oldest.Before(ended) {
			ended = oldest
		}
	}
	maps.DeleteFunc(h.grants, func(_ string, g *grant) bool { return g.of == key && g.until.Before(ended) })
}

// usage returns a usage with what grants hold.
func (h *history) usage(key usageKey) store.Usage {
	u := h.usages[key]
	for _, g := range h.grants {
		if g.of == key {
			u.Held += g.amount
		}
	}
	return u
}

// charge moves recipients from a grant to what is used.
func (h *history) charge(c store.Charge) {
	key := usageKeyOf(c.Scope, c.Period)
	u, ok := h.usages[key]
	if !ok {
		u = store.Usage{Scope: c.Scope, Period: c.Period}
	}
	u.Used += c.N
	h.usages[key] = u
	if g, ok := h.grants[c.ID]; ok {
		g.amount = max(0, g.amount-c.N)
	}
}

// Release implements [store.Allowances].
func (s *Store) Release(ctx context.Context, g store.Grant, n int64) error {
	if err := s.spool.lock(ctx); err != nil {
		return err
	}
	defer s.spool.mu.Unlock()
	if g, ok := s.spool.history.grants[g.ID]; ok {
		g.amount = max(0, g.amount-n)
	}
	return nil
}

// Usages implements [store.Allowances].
func (s *Store) Usages(ctx context.Context, scope string) (list []store.Usage, err error) {
	if err := s.spool.lock(ctx); err != nil {
		return nil, err
	}
	defer s.spool.mu.Unlock()
	h := &s.spool.history
	for key := range h.usages {
		if key.scope == scope {
			list = append(list, h.usage(key))
		}
	}
	slices.SortFunc(list, func(a, b store.Usage) int { return a.Period.Compare(b.Period) })
	return list, nil
}

// SetNoticed implements [store.Allowances].
func (s *Store) SetNoticed(ctx context.Context, scope string, period time.Time, percent int, max int64) error {
	if err := s.spool.lock(ctx); err != nil {
		return err
	}
	defer s.spool.mu.Unlock()
	h := &s.spool.history
	key := usageKeyOf(scope, period)
	u, ok := h.usages[key]
	if !ok {
		return store.ErrNotFound
	}
	if u.NoticedMax != max || percent > u.Noticed {
		u.Noticed, u.NoticedMax = percent, max
	}
	h.usages[key] = u
	return nil
}

// ExpireUsages implements [store.Allowances].
func (s *Store) ExpireUsages(ctx context.Context, before time.Time, limit int) (removed int, err error) {
	if err := s.spool.lock(ctx); err != nil {
		return 0, err
	}
	defer s.spool.mu.Unlock()
	h := &s.spool.history
	gone := make(map[usageKey]bool)
	for key := range h.usages {
		if key.period < before.UnixMicro() && len(gone) < limit {
			gone[key] = true
			delete(h.usages, key)
		}
	}
	maps.DeleteFunc(h.grants, func(_ string, g *grant) bool { return gone[g.of] })
	return len(gone), nil
}
