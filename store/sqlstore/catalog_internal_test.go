package sqlstore

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/internal/spools"
)

// pages are the lanes that other processes may put mail into.
type pages struct {
	c     *catalog
	count int
	at    int
	reads int
}

// read is like Store.readPage: it takes five milliseconds.
func (p *pages) read() (last bool, err error) {
	time.Sleep(5 * time.Millisecond)
	p.reads++
	if p.at++; p.at < p.count {
		return false, nil
	}
	p.c.complete, p.c.many, p.at = true, p.count > 1, 0
	return true, nil
}

// A new lane of another process is noticed soon, however rare the calls of Lease are and
// however many lanes wait.
func TestCatalogReadsAllLanesSoon(t *testing.T) {
	for _, pause := range []time.Duration{time.Millisecond, 100 * time.Millisecond, time.Second, 5 * time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			p := &pages{c: new(catalog), count: 200}
			for !p.c.complete {
				p.c.readPages(p.read)
			}
			begin := time.Now()
			for p.reads = 0; p.reads == 0 || p.at > 0; {
				time.Sleep(pause)
				before := time.Now()
				p.c.readPages(p.read)
				if took := time.Since(before); took > firstRead+5*time.Millisecond {
					t.Fatalf("a Lease read for %v", took)
				}
			}
			if took := time.Since(begin); took > 15*time.Second && took > 2*pause {
				t.Errorf("with a Lease every %v it took %v to read all lanes", pause, took)
			}
			if share := time.Since(begin) / (time.Duration(p.reads) * 5 * time.Millisecond); share < readShare-2 {
				t.Errorf("with a Lease every %v one second in %d went into reading lanes", pause, share)
			}
		})
	}
}

// A page that holds all lanes is read in each Lease, once.
func TestCatalogReadsOnePageEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pages{c: new(catalog), count: 1}
		for i := range 10 {
			p.c.readPages(p.read)
			if p.reads != i+1 {
				t.Fatalf("%d pages were read in %d calls", p.reads, i+1)
			}
			time.Sleep(time.Duration(i) * time.Second)
		}
	})
}

// If another call has locked one of the deliveries that a Lease found, the Lease learns
// nothing of that lane, which may be due again, and what it has seen of the others.
func TestCatalogLearnsBesideALockedRow(t *testing.T) {
	c, now := new(catalog), time.Now()
	var leased []store.Leased
	seen := look{lanes: make(map[key]store.Lane), next: make(map[store.Lane]time.Time)}
	for _, name := range []string{"empty", "later", "locked"} {
		lane := store.Lane{Destination: name, Tenant: "t"}
		c.lanes.Note(lane, now)
		seen.next[lane] = time.Time{}
		for n := range 2 {
			seen.lanes[key{name, n}] = lane
			if name != "locked" || n == 0 {
				leased = append(leased, store.Leased{Delivery: store.Delivery{Mail: name, N: n}})
			}
		}
	}
	seen.next[store.Lane{Destination: "later", Tenant: "t"}] = now.Add(time.Hour)
	seen.noted = c.lanes.Noted()
	c.learn(seen, leased)
	if n := c.lanes.Len(); n != 2 {
		t.Errorf("%d lanes wait, want the two that are not empty", n)
	}
	round := c.lanes.Begin(now, 10, spools.NewSkipped(store.LeaseRequest{}, nil))
	wants := round.Wants()
	if len(wants) != 1 || wants[0].Lane.Destination != "locked" {
		t.Errorf("due are %v, want the lane with a locked row only", wants)
	}
}
