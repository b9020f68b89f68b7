package sqlstore

import (
	"testing"
	"testing/synctest"
	"time"
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
