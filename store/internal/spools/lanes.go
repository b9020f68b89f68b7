package spools

import (
	"container/heap"
	"container/list"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// Lanes is an index of the lanes that have waiting deliveries, and of when the first of
// these is due. A Lease that uses it costs as much as it returns, and no more for lanes
// that are not due or suspended. The zero value is empty. It is not safe for concurrent
// use.
type Lanes struct {
	all     map[store.Lane]*lane
	later   later                        // lanes that are not known to be due
	tenants map[store.TenantID]*tenant   // those with ready lanes
	turns   list.List                    // of the same *tenant; the next in turn is first
	aside   map[suspended]map[*lane]bool // lanes that were due and suspended
	woken   time.Time                    // lanes that were due then are not in later
	noted   int64                        // counts calls of Note
}

// A lane is in later, ready or set aside.
type lane struct {
	store.Lane
	next  time.Time     // no waiting delivery is due before
	noted int64         // Lanes.noted when Note was called last
	at    int           // its place in Lanes.later; -1 if it is not there
	turn  *list.Element // in tenant.ready; nil if it is not there
	why   *suspended    // its key in Lanes.aside; nil if it is not there
}

// A tenant has ready lanes.
type tenant struct {
	id    store.TenantID
	ready list.List     // of *lane; the next in turn is first
	turn  *list.Element // in Lanes.turns
}

// A suspended is a tenant, or a destination if the tenant is "".
type suspended struct {
	tenant      store.TenantID
	destination string
}

// Len returns the number of lanes.
func (l *Lanes) Len() int { return len(l.all) }

// Set says when the first delivery of a lane is due.
func (l *Lanes) Set(name store.Lane, next time.Time) { l.set(l.lane(name), next) }

// Delete says that nothing waits in a lane.
func (l *Lanes) Delete(name store.Lane) {
	if e := l.all[name]; e != nil {
		l.remove(e)
		delete(l.all, name)
	}
}

// Note says that a delivery that is due at next may have begun to wait in a lane.
func (l *Lanes) Note(name store.Lane, next time.Time) {
	e, known := l.all[name]
	if !known {
		e = l.lane(name)
	}
	l.noted++
	e.noted = l.noted
	if !known || next.Before(e.next) {
		l.set(e, next)
	}
}

// Noted returns how often Note was called, for Learn.
func (l *Lanes) Noted() int64 { return l.noted }

// Learn says what was read about a lane after a call of Noted: when its first delivery
// is due, or that nothing waits. What was noted since may be missing there.
func (l *Lanes) Learn(noted int64, name store.Lane, next time.Time, waits bool) {
	e := l.all[name]
	isNew := e != nil && e.noted > noted
	switch {
	case isNew && (!waits || !next.Before(e.next)):
	case waits:
		l.Set(name, next)
	default:
		l.Delete(name)
	}
}

func (l *Lanes) lane(name store.Lane) *lane {
	e := l.all[name]
	if e == nil {
		e = &lane{Lane: name, at: -1}
		if l.all == nil {
			l.all = make(map[store.Lane]*lane)
		}
		l.all[name] = e
	}
	return e
}

func (l *Lanes) set(e *lane, next time.Time) {
	e.next = next
	switch {
	case e.why != nil, e.turn != nil && !next.After(l.woken):
	case e.at >= 0:
		heap.Fix(&l.later, e.at)
	default:
		l.remove(e)
		heap.Push(&l.later, e)
	}
}

// remove takes a lane from where it is.
func (l *Lanes) remove(e *lane) {
	switch {
	case e.at >= 0:
		heap.Remove(&l.later, e.at)
	case e.why != nil:
		delete(l.aside[*e.why], e)
		e.why = nil
	case e.turn != nil:
		t := l.tenants[e.Tenant]
		t.ready.Remove(e.turn)
		if e.turn = nil; t.ready.Len() == 0 {
			l.turns.Remove(t.turn)
			delete(l.tenants, t.id)
		}
	}
}

// wake makes the lanes ready that are due at now. They come after all that were ready.
func (l *Lanes) wake(now time.Time) {
	for len(l.later) > 0 && !l.later[0].next.After(now) {
		e := heap.Pop(&l.later).(*lane)
		t := l.tenants[e.Tenant]
		if t == nil {
			t = &tenant{id: e.Tenant}
			if l.tenants == nil {
				l.tenants = make(map[store.TenantID]*tenant)
			}
			l.tenants[e.Tenant] = t
			t.turn = l.turns.PushBack(t)
		}
		e.turn = t.ready.PushBack(e)
	}
	if now.After(l.woken) {
		l.woken = now
	}
}

// setAside takes a suspended lane out of its tenant's turn.
func (l *Lanes) setAside(e *lane, why suspended) {
	l.remove(e)
	e.why = &why
	if l.aside == nil {
		l.aside = make(map[suspended]map[*lane]bool)
	}
	if l.aside[why] == nil {
		l.aside[why] = make(map[*lane]bool)
	}
	l.aside[why][e] = true
}

// restore brings lanes back that are not suspended any more.
func (l *Lanes) restore(s *Skipped) {
	for why, lanes := range l.aside {
		if s.tenants[why.tenant] || why.tenant == "" && s.destinations[why.destination] {
			continue
		}
		for e := range lanes {
			l.remove(e)
			heap.Push(&l.later, e)
		}
		delete(l.aside, why)
	}
}

// later is a heap of lanes; the one that is due first is on top.
type later []*lane

func (h later) Len() int           { return len(h) }
func (h later) Less(i, j int) bool { return h[i].next.Before(h[j].next) }

func (h later) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

func (h *later) Push(e any) {
	e.(*lane).at = len(*h)
	*h = append(*h, e.(*lane))
}

func (h *later) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	e.at = -1
	return e
}
