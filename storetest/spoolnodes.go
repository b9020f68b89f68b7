package storetest

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

const removeWords = "Deliveries that the node had leased are no longer leased, have a new token, and have one more Deaths."

var nodePromises = []spoolPromise{
	{
		name:  "Join/Adds",
		words: "Join adds a node. ErrTaken: there is a node of this ID. Nodes lists the nodes, and those that were removed but have leased something since, in the order of their IDs.",
		check: func(t *spooler) {
			for _, id := range []string{"n2", "n1"} {
				t.ok(t.Join(t.Context(), store.Node{ID: id, Name: "host " + id, Beat: 9}), "Join(%q)", id)
			}
			t.fails(t.Join(t.Context(), store.Node{ID: "n2", Name: "host"}), store.ErrTaken, "Join of the same ID")
			t.nodes(store.Node{ID: "n1", Name: "host n1", Beat: 1}, store.Node{ID: "n2", Name: "host n2", Beat: 1})
			t.put("m1", 1)
			t.leaseAs(store.LeaseRequest{Node: "n0", Now: soon, Limit: 1})
			t.nodes(store.Node{ID: "n0"}, store.Node{ID: "n1", Name: "host n1", Beat: 1}, store.Node{ID: "n2", Name: "host n2", Beat: 1})
		},
	},
	{
		name:  "Join/SameName",
		words: "It removes every other node of the same Name, as Remove does.",
		check: func(t *spooler) {
			t.put("m1", 3)
			t.ok(t.Join(t.Context(), store.Node{ID: "n1", Name: "host"}), "Join")
			t.ok(t.Join(t.Context(), store.Node{ID: "n2", Name: "host "}), "Join")
			mine := t.leaseAs(store.LeaseRequest{Node: "n1", Now: soon, Limit: 2})
			t.leaseAs(store.LeaseRequest{Node: "n2", Now: soon, Limit: 1})
			second := &spooler{T: t.T, Spool: t.second(), open: t.open}
			t.ok(second.Join(t.Context(), store.Node{ID: "n3", Name: "host"}), "Join")
			t.nodes(store.Node{ID: "n2", Name: "host ", Beat: 1}, store.Node{ID: "n3", Name: "host", Beat: 1})
			_, err := t.Renew(t.Context(), "n1")
			t.fails(err, store.ErrNotFound, "Renew of a node that was removed")
			if got := second.leaseAs(store.LeaseRequest{Node: "n3", Now: soon, Limit: 9, Deaths: 1}); len(got) != 2 {
				t.Errorf("Lease of what the node before had: got %d, want 2", len(got))
			}
			t.loses(done(mine[0].Delivery))
		},
	},
	{
		name: "Renew/Beats",
		words: "Renew adds one to the node's Beat, and returns the Spool's time: the same clock for all processes. ErrNotFound: the node was removed. " +
			"Times come from the caller, except the time that Renew returns.",
		check: func(t *spooler) {
			t.ok(t.Join(t.Context(), store.Node{ID: "n1", Name: "one"}), "Join")
			var last time.Time
			for i := range 6 {
				spool := []store.Spool{t.Spool, t.second()}[i%2]
				now, err := spool.Renew(t.Context(), "n1")
				t.ok(err, "Renew")
				if now.Before(last) || now.IsZero() || now.Location() != time.UTC || now != now.Truncate(time.Microsecond) {
					t.Errorf("Renew: got the time %v after %v, want one that doesn't go back, in UTC and whole microseconds", now, last)
				}
				last = now
			}
			t.nodes(store.Node{ID: "n1", Name: "one", Beat: 7})
			_, err := t.Renew(t.Context(), "n2")
			t.fails(err, store.ErrNotFound, "Renew of a node that never joined")
		},
	},
	{
		name:  "Remove/Frees",
		words: removeWords,
		check: func(t *spooler) {
			t.put("m1", 4)
			t.ok(t.Join(t.Context(), store.Node{ID: node, Name: "one"}), "Join")
			had := t.take(soon, 2)
			theirs := t.leaseAs(store.LeaseRequest{Node: "n2", Now: soon, Limit: 1})
			t.ok(t.Remove(t.Context(), store.Node{ID: node, Beat: 1}), "Remove")
			t.nodes(store.Node{ID: "n2"})
			t.loses(done(had[0]), later(had[1], due))
			if got := t.lease(soon, 9); len(got) != 1 || got[0].Delivery.N != 3 {
				t.Errorf("Lease of deliveries without Deaths: got %+v, want the last one", got)
			}
			for i, d := range deliveriesOf(t.all())[:2] {
				want := had[i]
				want.Node, want.Lease, want.Deaths = "", d.Lease, 1
				if d != want || d.Lease == had[i].Lease {
					t.Errorf("after Remove:\n got %+v\nwant %+v, with a new token", d, want)
				}
			}
			t.settle(done(theirs[0].Delivery))
			for _, l := range t.leaseAs(store.LeaseRequest{Node: "n3", Now: soon, Limit: 9, Deaths: 1}) {
				t.settle(later(l.Delivery, due))
			}
			if got := deliveriesOf(t.all())[0]; got.Deaths != 0 {
				t.Errorf("after Settle the delivery has %d deaths, want 0", got.Deaths)
			}
		},
	},
	{
		name:  "Remove/Beat",
		words: "Remove removes a node, if its Beat is still n.Beat; otherwise it returns ErrConflict and changes nothing.",
		check: func(t *spooler) {
			t.put("m1", 1)
			t.ok(t.Join(t.Context(), store.Node{ID: node, Name: "one"}), "Join")
			mine := t.take(soon, 1)
			_, err := t.Renew(t.Context(), node)
			t.ok(err, "Renew")
			for _, beat := range []int64{0, 1, 3} {
				t.fails(t.Remove(t.Context(), store.Node{ID: node, Beat: beat}), store.ErrConflict, "Remove with the beat %d", beat)
			}
			t.fails(t.Remove(t.Context(), store.Node{ID: "n2", Beat: 1}), store.ErrConflict, "Remove of a node that never joined")
			t.nodes(store.Node{ID: node, Name: "one", Beat: 2})
			t.settle(done(mine[0]))
		},
	},
	{
		name:  "Remove/Removed",
		words: "Remove may work in steps: when it fails, Nodes still lists the node, and Remove can be repeated.",
		check: func(t *spooler) {
			many := newDeliveries(2500)
			for n := range many {
				many[n].Node, many[n].Lease = node, 1
			}
			t.putAs(newMail("m1"), many, "x")
			t.nodes(store.Node{ID: node})
			for range 2 {
				t.ok(t.Remove(t.Context(), store.Node{ID: node}), "Remove")
			}
			t.nodes()
			if got := t.leaseAs(store.LeaseRequest{Node: node, Now: soon, Limit: 3000, Deaths: 1}); len(got) != 2500 {
				t.Errorf("Lease of what the node had: got %d, want 2500", len(got))
			}
		},
	},
	{
		name:  "Race/RemoveOrRenew",
		words: "Remove removes a node, if its Beat is still n.Beat; otherwise it returns ErrConflict and changes nothing.",
		check: func(t *spooler) {
			for i := range rounds {
				n := store.Node{ID: fmt.Sprintf("n%d", i), Name: fmt.Sprint(i), Beat: 1}
				t.ok(t.Join(t.Context(), n), "Join")
				var removed, renewed atomic.Int32
				t.race(func(st store.Spool, racer int) error {
					if racer > 0 {
						if st.Remove(t.Context(), n) == nil {
							removed.Add(1)
						}
					} else if _, err := st.Renew(t.Context(), n.ID); err == nil {
						renewed.Add(1)
					}
					return nil
				})
				if removed.Load()+renewed.Load() != 1 {
					t.Errorf("with one beat, %d Remove and %d Renew succeeded, want exactly one of the calls", removed.Load(), renewed.Load())
				}
			}
		},
	},
	{
		name:  "Race/RemoveOrSettle",
		words: removeWords + " An outcome whose token is not the delivery's changes nothing and is returned as lost, in the order given.",
		check: func(t *spooler) {
			for i := range rounds {
				id := fmt.Sprintf("m%d", i)
				t.put(id, 2)
				mine := t.take(soon, 2)
				var lost atomic.Int32
				t.race(func(st store.Spool, racer int) error {
					if racer > 0 {
						return st.Remove(t.Context(), store.Node{ID: node})
					}
					l, err := st.Settle(t.Context(), []store.Outcome{done(mine[0]), done(mine[1])})
					lost.Store(int32(len(l)))
					return err
				})
				left := t.leaseAs(store.LeaseRequest{Node: node, Now: soon, Limit: 9, Deaths: 1})
				if len(left) != int(lost.Load()) {
					t.Errorf("Settle lost %d outcomes, and %d deliveries are left", lost.Load(), len(left))
				}
				for _, l := range left {
					t.settle(done(l.Delivery))
				}
				t.gone(id)
			}
		},
	},
}

// nodes checks the list of nodes.
func (t *spooler) nodes(want ...store.Node) {
	t.Helper()
	got, err := t.Nodes(t.Context())
	t.ok(err, "Nodes")
	if !slices.Equal(got, want) {
		t.Errorf("Nodes:\n got %+v\nwant %+v", got, want)
	}
}
