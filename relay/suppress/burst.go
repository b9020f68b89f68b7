package suppress

import (
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/internal/lru"
	"github.com/gatepost-mail/gatepost/store"
)

const (
	// burstWindow is how long refusals at a site are counted together, and how long
	// after a burst nothing is learned there.
	burstWindow = time.Hour

	// burstSize is how many addresses a site must have refused for a burst.
	burstSize = 20

	// maxSites is how many sites are counted, and maxAddresses how many addresses of
	// each.
	maxSites     = 1000
	maxAddresses = 500
)

// bursts finds sites that refuse most of their recipients. That is a fault of the site
// more often than a list of dead addresses: providers in an outage have answered 5.1.1
// for mailboxes that exist. A restart begins at zero.
type bursts struct {
	mu    sync.Mutex
	sites lru.Cache[string, *window]
}

// A window is what happened at a site within burstWindow.
type window struct {
	start     time.Time
	delivered int
	refused   map[key]string // the event of each address, at most maxAddresses
	more      int            // refusals beyond that
	stopped   time.Time      // nothing is learned until then; zero without a burst
}

// at returns the window of a site that holds a time, nil for a time before it. The caller
// must hold b.mu.
func (b *bursts) at(site string, t time.Time) *window {
	b.sites.Max = maxSites
	w, ok := b.sites.Get(site)
	if !ok || t.Sub(w.start) >= burstWindow && !t.Before(w.stopped) {
		w = &window{start: t}
		b.sites.Put(site, w)
	}
	if w.start.Sub(t) >= burstWindow {
		return nil
	}
	return w
}

// delivered counts a delivery at some sites.
func (b *bursts) delivered(t time.Time, sites ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, site := range sites {
		if w := b.at(site, t); w != nil {
			w.delivered++
		}
	}
}

// A burst is what is known when a site begins to refuse too many.
type burst struct {
	site      string
	refused   int
	delivered int
	events    map[key]string // what was learned before it was noticed
}

// refused counts a refusal at some sites. It returns those where it begins a burst. late
// means that a delivery of the same message was counted there before.
func (b *bursts) refused(e *store.Event, k key, late bool, sites ...string) (begun []burst) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, site := range sites {
		w := b.at(site, e.Time)
		if w == nil {
			continue
		}
		if _, again := w.refused[k]; again {
			continue
		}
		if w.refused == nil {
			w.refused = make(map[key]string)
		}
		if len(w.refused) < maxAddresses {
			w.refused[k] = e.ID
		} else {
			w.more++
		}
		if late {
			w.delivered = max(w.delivered-1, 0)
		}
		n := len(w.refused) + w.more
		if n < burstSize || n <= w.delivered {
			continue
		}
		if w.stopped.IsZero() {
			begun = append(begun, burst{site: site, refused: n, delivered: w.delivered, events: w.refused})
		}
		if until := e.Time.Add(burstWindow); until.After(w.stopped) {
			w.stopped = until
		}
	}
	return begun
}

// stopped reports whether a refusal at some sites teaches nothing, because of a burst.
func (b *bursts) stopped(t time.Time, sites ...string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, site := range sites {
		if w := b.at(site, t); w != nil && t.Before(w.stopped) {
			return true
		}
	}
	return false
}
