package queue

import (
	"errors"
	"slices"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
)

// This file is about lanes that wait for a slot of Next. Thousands of destinations may
// share one busy site, and only one of them can have the slot that gets free.

// A gate is where lanes wait for a slot of one site of Next. When there may be a slot, two
// lanes ask Next again; tenants take turns. If one of them gets it, the other finds none,
// and a goroutine waits until there may be another. If both get one, there may be more, so
// lanes ask when the server has accepted MAIL of a message, or when a message has ended.
type gate struct {
	turns   []*gateTurn // tenants with lanes that wait; the next in turn is first
	of      map[store.TenantID]*gateTurn
	watched bool      // a goroutine waits until there may be a slot
	timed   bool      // it waits until the next message is allowed, not until one ends
	ended   int       // messages that ended since it began to wait
	asking  int       // lanes that ask, and have no answer yet
	asked   time.Time // when a lane asked last
	reason  string    // what a server said that asked for a pause; "" if none did
	until   time.Time // if timed, when there may be a slot
}

type gateTurn struct {
	tenant store.TenantID
	lanes  []*lane
}

// gateTime is how long a gate may be without a lane that asks.
const gateTime = time.Second

// enter makes a lane wait at a gate. It reports whether the caller must call free when
// there may be a slot. A lane waits at one gate only, however many of its jobs Next had no
// slot for. The caller must hold d.mu.
func (d *dispatcher) enter(l *lane, name string, timed bool) (watch bool) {
	if l.waits && l.gate != name {
		return false
	}
	g := d.gates[name]
	if g == nil {
		g = &gate{of: make(map[store.TenantID]*gateTurn)}
		if d.gates == nil {
			d.gates = make(map[string]*gate)
		}
		d.gates[name] = g
	}
	again := l.asking // it keeps its turn
	d.answered(l)
	if !l.waits {
		g.add(l, again)
	}
	l.busy, l.waits, l.gate, g.asked = true, true, name, time.Now()
	if watch = !g.watched; watch {
		g.watched, g.timed, g.ended = true, timed, 0
	}
	return watch
}

// add adds a lane, before all others if it keeps its turn.
func (g *gate) add(l *lane, first bool) {
	t := g.of[l.tenant.id]
	switch {
	case t == nil:
		t = &gateTurn{tenant: l.tenant.id}
		g.of[t.tenant] = t
		if first {
			g.turns = slices.Insert(g.turns, 0, t)
		} else {
			g.turns = append(g.turns, t)
		}
	case first:
		i := slices.Index(g.turns, t)
		copy(g.turns[1:i+1], g.turns[:i])
		g.turns[0] = t
	}
	if first {
		t.lanes = slices.Insert(t.lanes, 0, l)
	} else {
		t.lanes = append(t.lanes, l)
	}
}

// next takes the next lane that waits; nil if none does.
func (g *gate) next() *lane {
	if len(g.turns) == 0 {
		return nil
	}
	t := g.turns[0]
	g.turns[0] = nil
	g.turns = g.turns[1:]
	l := t.lanes[0]
	l.waits = false
	t.lanes[0] = nil
	if t.lanes = t.lanes[1:]; len(t.lanes) > 0 {
		g.turns = append(g.turns, t)
	} else {
		delete(g.of, t.tenant)
	}
	return l
}

// ask lets so many lanes of a gate ask Next again. The caller must hold d.mu, and call
// pump.
func (d *dispatcher) ask(name string, lanes int) {
	g := d.gates[name]
	if g == nil {
		return
	}
	g.asked = time.Now()
	for lanes > 0 {
		l := g.next()
		if l == nil {
			if !g.watched && g.asking == 0 {
				delete(d.gates, name)
			}
			return
		}
		l.busy = false
		if l.mayBegin() {
			lanes--
			l.asking = true
			g.asking++
		}
		d.offer(l)
	}
}

// free says that the site of a gate may have a slot, and one more for each message that has
// ended meanwhile.
func (d *dispatcher) free(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if g := d.gates[name]; g != nil {
		g.watched = false
		d.ask(name, max(2, g.ended+1))
	}
	d.pump()
}

// released says that a message of a lane has ended. The caller must hold d.mu, and call
// pump.
func (d *dispatcher) released(l *lane) {
	d.answered(l)
	switch g := d.gates[l.gate]; {
	case g == nil:
	case g.watched:
		if !g.timed {
			g.ended++
		}
	case !g.timed || g.asking == 0: // otherwise one that asks will tell
		d.ask(l.gate, 2)
	}
}

// answered says that a lane that asked has a slot, or has none. The caller must hold d.mu.
func (d *dispatcher) answered(l *lane) {
	if g := d.gates[l.gate]; g != nil && l.asking {
		g.asking = max(0, g.asking-1) // sweepGates may have set it to 0
	}
	l.asking = false
}

// begun says that a server has accepted MAIL of a job, so that it has a slot.
func (d *dispatcher) begun(j *job) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.lane(j.lane)
	d.answered(l)
	if g := d.gates[l.gate]; g != nil && !g.watched && g.asking == 0 {
		d.ask(l.gate, 2)
		d.pump()
	}
}

// isGated reports whether the lane of a job has waited at a gate.
func (d *dispatcher) isGated(j *job) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.lanes[j.lane]
	return l != nil && l.gate != ""
}

// sweepGates lets a lane ask where none has asked for long: the jobs of the one that was
// to ask may have been taken. The caller must hold d.mu, and call pump.
func (d *dispatcher) sweepGates() {
	for name, g := range d.gates {
		if time.Since(g.asked) > gateTime {
			g.asking = 0
			d.ask(name, 2)
		}
	}
}

// isBusy returns the error of a message that Next had no slot for at all.
func isBusy(err error) *relay.BusyError {
	var busy *relay.BusyError
	if errors.As(err, &busy) && busy != nil && busy.Free != nil {
		return busy
	}
	return nil
}

// awaitSlot puts a job back until Next may have a slot for it. Nothing was tried, so
// no attempt is counted.
func (q *Queue) awaitSlot(r *run, j *job, busy *relay.BusyError) {
	limit := busySlots
	if busy.Wait > 0 { // it is about the time, and says nothing about the number
		limit = timedSlots
	}
	watch, ok := q.dispatcher.postpone(j, limit, gateOf(j, busy))
	if !ok {
		q.returnJob(r, j)
		return
	}
	q.dispatcher.explain(gateOf(j, busy), busy)
	if !watch {
		return
	}
	select {
	case <-busy.Free:
	case <-r.attempts.Done():
	}
	q.dispatcher.free(gateOf(j, busy))
	if busy.Wait > 0 {
		q.paceSite(r, j.lane.Destination, busy.Wait)
	}
}

// gateOf returns the name of the gate where a job waits.
func gateOf(j *job, busy *relay.BusyError) string {
	if busy.Site == "" {
		return "\x00" + j.lane.Destination // of its own
	}
	return busy.Site
}

// returnJob gives back a job that can't wait.
func (q *Queue) returnJob(r *run, j *job) {
	if q.dispatcher.claim(j) {
		q.giveBack(r, []*job{j})
	}
}
