package queue

import (
	"cmp"
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
// After a pause that a server has asked for, one lane asks.
type gate struct {
	turns   []*gateTurn // tenants with lanes that wait, in the order of turn
	last    *uint64     // the last turn that was given at any gate
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
	turn   uint64
	lanes  []*lane // in the order of their turns
}

// A gatePlace has the turns of a lane and of its tenant at a gate. A lane that asks and
// finds no slot keeps them. Several lanes may ask at once, and be answered in any order.
type gatePlace struct{ lane, tenant uint64 }

// gateTime is how long a gate may be without a lane that asks.
const gateTime = time.Second

// enter makes a lane wait at a gate. It reports whether the caller must call free when
// there may be a slot. A lane waits at one gate only, however many of its jobs Next had no
// slot for. If the job was tried, another lane is next. The caller must hold d.mu.
func (d *dispatcher) enter(l *lane, name string, tried, timed bool) (watch bool) {
	if l.waits && l.gate != name {
		return false
	}
	g := d.gates[name]
	if g == nil {
		g = &gate{last: &d.lastTurn, of: make(map[store.TenantID]*gateTurn)}
		if d.gates == nil {
			d.gates = make(map[string]*gate)
		}
		d.gates[name] = g
	}
	keeps := l.asking && !tried && l.gate == name // its turn
	d.answered(l)
	switch {
	case !l.waits:
		g.add(l, keeps)
	case tried: // another job of the lane found no slot meanwhile
		g.remove(l)
		g.add(l, false)
	}
	if tried {
		g.setTurn(g.of[l.tenant.id], *g.last)
	}
	l.busy, l.waits, l.gate, g.asked = true, true, name, time.Now()
	if watch = !g.watched; watch {
		g.watched, g.timed, g.ended = true, timed, 0
	}
	return watch
}

// add adds a lane. If it does not keep its turn, it and its tenant get the last ones; a
// tenant that waits with another lane keeps the one it has.
func (g *gate) add(l *lane, keeps bool) {
	if !keeps {
		*g.last++
		l.place = gatePlace{*g.last, *g.last}
	}
	t := g.of[l.tenant.id]
	switch {
	case t == nil:
		t = &gateTurn{tenant: l.tenant.id, turn: l.place.tenant}
		g.of[t.tenant] = t
		g.turns = slices.Insert(g.turns, g.index(t.turn), t)
	case l.place.tenant < t.turn:
		g.setTurn(t, l.place.tenant)
	}
	at, _ := slices.BinarySearchFunc(t.lanes, l.place.lane, func(o *lane, turn uint64) int { return cmp.Compare(o.place.lane, turn) })
	t.lanes = slices.Insert(t.lanes, at, l)
}

func (g *gate) setTurn(t *gateTurn, turn uint64) {
	i := g.index(t.turn)
	g.turns = slices.Delete(g.turns, i, i+1)
	t.turn = turn
	g.turns = slices.Insert(g.turns, g.index(turn), t)
}

// remove undoes add.
func (g *gate) remove(l *lane) {
	t := g.of[l.tenant.id]
	at := slices.Index(t.lanes, l)
	if t.lanes = slices.Delete(t.lanes, at, at+1); len(t.lanes) == 0 {
		i := g.index(t.turn)
		g.turns = slices.Delete(g.turns, i, i+1)
		delete(g.of, t.tenant)
	}
}

// index returns the index of the tenant with a turn, or where it would be.
func (g *gate) index(turn uint64) int {
	i, _ := slices.BinarySearchFunc(g.turns, turn, func(t *gateTurn, turn uint64) int { return cmp.Compare(t.turn, turn) })
	return i
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
	l.waits, l.place.tenant = false, t.turn
	t.lanes[0] = nil
	if t.lanes = t.lanes[1:]; len(t.lanes) > 0 {
		*g.last++
		t.turn = *g.last
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
// ended meanwhile. After a pause that a server has asked for, one message finds out whether
// it is over, and that is the next in turn.
func (d *dispatcher) free(name string, afterPause bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if g := d.gates[name]; g != nil {
		g.watched = false
		if afterPause {
			d.ask(name, 1)
		} else {
			d.ask(name, max(2, g.ended+1))
		}
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

// awaitSlot puts a job back until Next may have a slot for it. Nothing was tried, or the
// server wants less mail for now, so no attempt is counted.
func (q *Queue) awaitSlot(r *run, j *job, busy *relay.BusyError) {
	limit := busySlots
	if busy.Wait > 0 { // it is about the time, and says nothing about the number
		limit = timedSlots
	}
	tried := errors.As(busy, new(*relay.ReplyError))
	watch, ok := q.dispatcher.postpone(j, tried, limit, gateOf(j, busy))
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
	q.dispatcher.free(gateOf(j, busy), busy.Wait > 0 && busy.Err != nil)
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
