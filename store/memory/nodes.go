package memory

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// Join implements [store.Spool].
func (s *Store) Join(ctx context.Context, n store.Node) error {
	if err := s.spool.lock(ctx); err != nil {
		return err
	}
	defer s.spool.mu.Unlock()
	if _, ok := s.spool.nodes[n.ID]; ok {
		return store.ErrTaken
	}
	for _, other := range s.spool.nodes {
		if other.Name == n.Name {
			s.spool.removeNode(other.ID)
		}
	}
	n.Beat = 1
	s.spool.nodes[n.ID] = n
	return nil
}

// Renew implements [store.Spool].
func (s *Store) Renew(ctx context.Context, node string) (now time.Time, err error) {
	if err := s.spool.lock(ctx); err != nil {
		return now, err
	}
	defer s.spool.mu.Unlock()
	n, ok := s.spool.nodes[node]
	if !ok {
		return now, store.ErrNotFound
	}
	n.Beat++
	s.spool.nodes[node] = n
	return time.Now().UTC().Truncate(time.Microsecond), nil
}

// Nodes implements [store.Spool].
func (s *Store) Nodes(ctx context.Context) ([]store.Node, error) {
	if err := s.spool.lock(ctx); err != nil {
		return nil, err
	}
	defer s.spool.mu.Unlock()
	list := slices.Collect(maps.Values(s.spool.nodes))
	for id := range s.spool.leased {
		if _, ok := s.spool.nodes[id]; !ok {
			list = append(list, store.Node{ID: id})
		}
	}
	slices.SortFunc(list, func(a, b store.Node) int { return strings.Compare(a.ID, b.ID) })
	return list, nil
}

// Remove implements [store.Spool].
func (s *Store) Remove(ctx context.Context, n store.Node) error {
	if err := s.spool.lock(ctx); err != nil {
		return err
	}
	defer s.spool.mu.Unlock()
	if s.spool.nodes[n.ID].Beat != n.Beat {
		return store.ErrConflict
	}
	s.spool.removeNode(n.ID)
	return nil
}

// removeNode removes a node and frees what it had leased.
func (s *spool) removeNode(id string) {
	delete(s.nodes, id)
	for _, d := range slices.Collect(maps.Keys(s.leased[id])) {
		s.displace(d)
		d.Lease++
		d.Node = ""
		d.Deaths++
		s.place(d)
	}
}

// Suspend implements [store.Spool].
func (s *Store) Suspend(ctx context.Context, su store.Suspension) error {
	return s.spool.change(ctx, su, func(key suspended) {
		su.Version++
		s.spool.suspensions[key] = su
	})
}

// Resume implements [store.Spool].
func (s *Store) Resume(ctx context.Context, su store.Suspension) error {
	return s.spool.change(ctx, su, func(key suspended) { delete(s.spool.suspensions, key) })
}

// change calls f if the suspension has still the version of su.
func (s *spool) change(ctx context.Context, su store.Suspension, f func(suspended)) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	key := suspended{su.Tenant, su.Destination}
	if su.Tenant != "" {
		key.destination = ""
	}
	if s.suspensions[key].Version != su.Version {
		return store.ErrConflict
	}
	f(key)
	return nil
}

// Suspensions implements [store.Spool].
func (s *Store) Suspensions(ctx context.Context) ([]store.Suspension, error) {
	if err := s.spool.lock(ctx); err != nil {
		return nil, err
	}
	defer s.spool.mu.Unlock()
	return s.spool.suspended(), nil
}

func (s *spool) suspended() []store.Suspension {
	list := slices.Collect(maps.Values(s.suspensions))
	slices.SortFunc(list, func(a, b store.Suspension) int {
		switch {
		case (a.Tenant == "") != (b.Tenant == ""):
			if a.Tenant != "" {
				return -1
			}
			return 1
		case a.Tenant != "":
			return cmp.Compare(a.Tenant, b.Tenant)
		}
		return cmp.Compare(a.Destination, b.Destination)
	})
	return list
}
