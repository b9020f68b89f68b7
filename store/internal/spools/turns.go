// Package spools holds the rules that the adapters of [store.Spool] have in
// common.
package spools

import (
	"math/rand/v2"

	"github.com/gatepost-mail/gatepost/store"
)

// A Want is how many deliveries of a lane are wanted.
type Want struct {
	Lane  store.Lane
	Limit int
}

// Take takes up to limit deliveries from lanes so that tenants take turns, and so
// do the lanes of a tenant. It calls fetch until it has enough or all lanes are
// empty. fetch returns, for each Want, the next deliveries of that lane, which no
// earlier call returned; fewer than wanted mean that the lane is empty.
func Take[T any](lanes []store.Lane, limit int, fetch func([]Want) ([][]T, error)) ([]T, error) {
	rand.Shuffle(len(lanes), func(i, j int) { lanes[i], lanes[j] = lanes[j], lanes[i] })
	var all []T
	for limit > 0 && len(lanes) > 0 {
		wants := shares(lanes, limit)
		got, err := fetch(wants)
		if err != nil {
			return nil, err
		}
		empty := make(map[store.Lane]bool)
		for i, some := range got {
			all = append(all, some...)
			limit -= len(some)
			empty[wants[i].Lane] = len(some) < wants[i].Limit
		}
		var rest []store.Lane
		for _, lane := range lanes {
			if !empty[lane] {
				rest = append(rest, lane)
			}
		}
		lanes = rest
	}
	return all, nil
}

// shares divides limit among the tenants, and the share of each tenant among its
// lanes. No share is less than 1, so some lanes may get none.
func shares(lanes []store.Lane, limit int) (wants []Want) {
	ofTenant := make(map[store.TenantID][]store.Lane)
	var tenants []store.TenantID
	for _, lane := range lanes {
		if ofTenant[lane.Tenant] == nil {
			tenants = append(tenants, lane.Tenant)
		}
		ofTenant[lane.Tenant] = append(ofTenant[lane.Tenant], lane)
	}
	each := max(1, limit/len(tenants))
	for turn := 0; limit > 0; turn++ {
		before := len(wants)
		for _, tenant := range tenants {
			mine := ofTenant[tenant]
			if turn >= min(len(mine), each) || limit == 0 {
				continue
			}
			want := min(max(1, each/len(mine)), limit)
			wants = append(wants, Want{mine[turn], want})
			limit -= want
		}
		if len(wants) == before {
			break
		}
	}
	return wants
}

// Skipped reports which lanes a Lease must not touch.
type Skipped struct {
	lanes        map[store.Lane]bool
	tenants      map[store.TenantID]bool
	destinations map[string]bool
	only         *string
}

// NewSkipped returns what r and the suspensions exclude.
func NewSkipped(r store.LeaseRequest, suspensions []store.Suspension) *Skipped {
	s := &Skipped{
		lanes: make(map[store.Lane]bool), tenants: make(map[store.TenantID]bool), destinations: make(map[string]bool),
	}
	for _, lane := range r.Skip {
		s.lanes[lane] = true
	}
	for _, su := range suspensions {
		if su.Tenant != "" {
			s.tenants[su.Tenant] = true
		} else {
			s.destinations[su.Destination] = true
		}
	}
	if r.Probe {
		s.only = &r.Destination
	}
	return s
}

// Has reports whether the lane is excluded.
func (s *Skipped) Has(lane store.Lane) bool {
	if s.lanes[lane] || s.tenants[lane.Tenant] {
		return true
	}
	if s.only != nil {
		return lane.Destination != *s.only
	}
	return s.destinations[lane.Destination]
}

// suspension returns the suspension that excludes the lane.
func (s *Skipped) suspension(lane store.Lane) (suspended, bool) {
	if s.tenants[lane.Tenant] {
		return suspended{tenant: lane.Tenant}, true
	}
	return suspended{destination: lane.Destination}, s.destinations[lane.Destination]
}
