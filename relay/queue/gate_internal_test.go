package queue

import (
	"testing"

	"github.com/gatepost-mail/gatepost/store"
)

// atGate returns a dispatcher whose one lane has jobs and waits at a gate.
func atGate(jobs int) (*dispatcher, *lane) {
	d := &dispatcher{limits: limits{total: 64, perSite: 10, memory: 1 << 30}}
	name := store.Lane{Destination: "d.example", Tenant: "t"}
	for range jobs {
		d.add([]*job{{parcel: newParcel(&store.Mail{}), lane: name, leased: true}})
	}
	l := d.lane(name)
	d.enter(l, "mx.example", false, false)
	return d, l
}

// A lane with several jobs that Next had no slot for waits at the gate once, and asks once.
func TestLaneWaitsAtAGateOnce(t *testing.T) {
	d, l := atGate(2)
	g := d.gates["mx.example"]
	d.enter(l, "mx.example", false, false)
	d.enter(l, "other.example", false, false)
	if l.gate != "mx.example" || d.gates["other.example"] != nil {
		t.Errorf("the lane waits at %s too", l.gate)
	}
	d.ask("mx.example", 2)
	if g.asking != 1 || len(g.turns) != 0 {
		t.Errorf("%d lanes ask and %d tenants wait, want 1 and 0", g.asking, len(g.turns))
	}
	d.answered(l)
	d.enter(l, "mx.example", false, false) // and it may wait again
	if g.asking != 0 || len(g.turns) != 1 {
		t.Errorf("%d lanes ask and %d tenants wait, want 0 and 1", g.asking, len(g.turns))
	}
}

// A gate is kept while a lane of it asks, and its count of them does not fall below zero.
func TestGateCountsLanesThatAsk(t *testing.T) {
	d, l := atGate(1)
	g := d.gates["mx.example"]
	g.watched = false
	d.ask("mx.example", 2)
	if d.gates["mx.example"] != g {
		t.Error("the gate is gone while a lane asks")
	}
	g.asking = 0 // as sweepGates does
	d.answered(l)
	if g.asking != 0 {
		t.Errorf("%d lanes ask, want 0", g.asking)
	}
	d.ask("mx.example", 2)
	if d.gates["mx.example"] != nil {
		t.Error("the gate is kept although no lane waits or asks")
	}
}
