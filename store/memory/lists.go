package memory

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/gatepost-mail/gatepost/store"
)

// Deliveries implements [store.Spool].
func (s *Store) Deliveries(ctx context.Context, f store.Filter, page store.Page) ([]store.Leased, error) {
	if err := s.spool.lock(ctx); err != nil {
		return nil, err
	}
	defer s.spool.mu.Unlock()
	var list []store.Leased
	for m, d := range s.spool.all() {
		l := store.Leased{Mail: m.Mail, Delivery: d.Delivery}
		if d.Key() > page.After && f.Match(&l) {
			list = append(list, l)
		}
	}
	slices.SortFunc(list, func(a, b store.Leased) int {
		return cmp.Or(strings.Compare(a.Mail.ID, b.Mail.ID), cmp.Compare(a.Delivery.N, b.Delivery.N))
	})
	return list[:min(len(list), page.Size())], nil
}

// all iterates over the deliveries, in no order.
func (s *spool) all() func(yield func(*mail, *delivery) bool) {
	return func(yield func(*mail, *delivery) bool) {
		for _, m := range s.mails {
			for _, d := range m.deliveries {
				if d != nil && !yield(m, d) {
					return
				}
			}
		}
	}
}

// Depth implements [store.Spool].
func (s *Store) Depth(ctx context.Context) (store.Depth, error) {
	if err := s.spool.lock(ctx); err != nil {
		return store.Depth{}, err
	}
	defer s.spool.mu.Unlock()
	depth := store.Depth{Deliveries: int64(s.spool.count), Held: int64(s.spool.held)}
	least := ""
	for id, m := range s.spool.mails {
		if least == "" || id < least {
			least, depth.Oldest = id, m.Received
		}
	}
	return depth, nil
}

// Backlogs implements [store.Spool].
func (s *Store) Backlogs(ctx context.Context) ([]store.Backlog, error) {
	if err := s.spool.lock(ctx); err != nil {
		return nil, err
	}
	defer s.spool.mu.Unlock()
	lanes, least := make(map[store.Lane]store.Backlog), make(map[store.Lane]string)
	for m, d := range s.spool.all() {
		b, ok := lanes[d.lane]
		b.Lane = d.lane
		b.Deliveries++
		switch d.State() {
		case store.StateLeased:
			b.Leased++
		case store.StateHeld:
			b.Held++
		}
		if !ok || d.Mail < least[d.lane] {
			b.Oldest, least[d.lane] = m.Received, d.Mail
		}
		lanes[d.lane] = b
	}
	return slices.SortedFunc(maps.Values(lanes), func(a, b store.Backlog) int {
		return cmp.Or(cmp.Compare(a.Destination, b.Destination), cmp.Compare(a.Tenant, b.Tenant))
	}), nil
}
