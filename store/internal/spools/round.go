package spools

import (
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// A Round is one Lease. It goes on where the one before has ended: tenants take turns,
// and so do the lanes of a tenant.
type Round struct {
	lanes   *Lanes
	now     time.Time
	limit   int
	skipped *Skipped
	empty   map[store.Lane]bool     // they have nothing more for this Lease
	spent   map[store.TenantID]bool // all their lanes are so
}

// Begin begins a Lease of up to limit deliveries that are due at now.
func (l *Lanes) Begin(now time.Time, limit int, skipped *Skipped) *Round {
	l.restore(skipped)
	return &Round{lanes: l, now: now, limit: limit, skipped: skipped, empty: make(map[store.Lane]bool), spent: make(map[store.TenantID]bool)}
}

// Wants returns how many deliveries of which lanes are wanted next; none if the Round
// is over. The caller must call Got for each before it calls Wants again.
func (r *Round) Wants() []Want {
	l := r.lanes
	l.wake(r.now)
	var lanes []store.Lane
	tenants, left := 0, l.turns.Len()
	each := max(1, r.limit/max(1, left-len(r.spent)))
	for ; left > 0 && tenants < r.limit; left-- {
		front := l.turns.Front()
		if front == nil {
			break // what is left was set aside
		}
		t := front.Value.(*tenant)
		l.turns.MoveToBack(front)
		if r.spent[t.id] {
			continue
		}
		if mine := r.lanesOf(t, each); len(mine) > 0 {
			lanes = append(lanes, mine...)
			tenants++
		} else {
			r.spent[t.id] = true
		}
	}
	if len(lanes) == 0 {
		return nil
	}
	return shares(lanes, r.limit)
}

// lanesOf returns the next lanes of a tenant that may have something.
func (r *Round) lanesOf(t *tenant, limit int) (lanes []store.Lane) {
	for left := t.ready.Len(); left > 0 && len(lanes) < limit; left-- {
		e := t.ready.Front().Value.(*lane)
		if why, ok := r.skipped.suspension(e.Lane); ok {
			r.lanes.setAside(e, why)
			continue
		}
		t.ready.MoveToBack(e.turn)
		if !r.empty[e.Lane] && !r.skipped.lanes[e.Lane] && !e.next.After(r.now) {
			lanes = append(lanes, e.Lane)
		}
	}
	return lanes
}

// Got says how many deliveries a lane had of those that were wanted, and whether it has
// more.
func (r *Round) Got(w Want, n int, more bool) {
	r.limit -= n
	if !more {
		r.empty[w.Lane] = true
	}
}
