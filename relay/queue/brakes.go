package queue

import (
	"strings"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
)

// Brakes returns what holds mail back in this process at present, the brake with the
// most mail first. Other processes that share the Spool have their own; suspensions,
// which hold for all of them, are in [Stats]. A Forwarder such as Next may know of more:
// see Brakes of smarthost.Forwarder and mx.Forwarder. Brakes looks at all destinations
// with mail in memory, so it is for people and not for each message.
func (q *Queue) Brakes() []relay.Brake {
	d := &q.dispatcher
	d.mu.Lock()
	defer d.mu.Unlock()
	list := d.gateBrakes()
	for _, s := range d.sites {
		if waiting := jobsIn(s.blocked); waiting > 0 {
			list = append(list, relay.Brake{Kind: relay.BrakeDestination, Site: s.name, Limit: d.limitOf(s), Waiting: waiting})
		}
	}
	var ready []*lane
	for _, t := range d.turns {
		ready = append(ready, t.ready...)
	}
	switch waiting := jobsIn(ready); {
	case d.begin == nil: // Run does not work
	case d.paused:
		list = append(list, relay.Brake{Kind: relay.BrakeNode, Waiting: d.waiting})
	case waiting > 0:
		list = append(list, relay.Brake{Kind: relay.BrakeWorkers, Limit: d.limits.total, Waiting: waiting})
	}
	if d.stalled {
		list = append(list, relay.Brake{Kind: relay.BrakeMemory})
	}
	return relay.SortBrakes(list)
}

// limitOf is how many attempts a site may have at once. The caller must hold d.mu.
func (d *dispatcher) limitOf(s *site) int {
	if s.slots > 0 && (d.limits.perSite <= 0 || s.slots < d.limits.perSite) {
		return s.slots
	}
	return d.limits.perSite
}

// gateBrakes returns a brake for each gate where lanes wait. The caller must hold d.mu.
func (d *dispatcher) gateBrakes() (list []relay.Brake) {
	now := time.Now()
	for name, g := range d.gates {
		b := relay.Brake{Kind: relay.BrakeConnections, Site: strings.TrimPrefix(name, "\x00"), Reason: g.reason}
		for _, t := range g.turns {
			b.Waiting += jobsIn(t.lanes)
		}
		switch {
		case g.reason != "":
			b.Kind = relay.BrakePause
		case g.timed:
			b.Kind = relay.BrakeRate
		}
		if g.timed && g.until.After(now) {
			b.Until = g.until
		}
		if b.Waiting > 0 {
			list = append(list, b)
		}
	}
	return list
}

// jobsIn is how many jobs wait in lanes.
func jobsIn(lanes []*lane) (n int) {
	for _, l := range lanes {
		n += len(l.jobs)
	}
	return n
}

// explain keeps why a gate has no slot.
func (d *dispatcher) explain(name string, busy *relay.BusyError) {
	d.mu.Lock()
	defer d.mu.Unlock()
	g := d.gates[name]
	if g == nil {
		return
	}
	g.reason, g.until = "", time.Now().Add(busy.Wait)
	if busy.Err != nil {
		g.reason = reasonOf(busy.Err)
	}
}
