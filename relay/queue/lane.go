package queue

import (
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// This file is about the lanes of a dispatcher, their sites and their tenants. There may be
// 100,000 of each, so nothing that happens every second goes through all of them.

// A site is where the jobs of one destination go.
type site struct {
	name    string
	lanes   map[*lane]struct{}
	running int
	memory  int64
	slots   int       // how many attempts Next had slots for; 0: not known
	raised  time.Time // when slots was last raised
	timed   bool      // slots is about when an attempt may begin
	paced   bool      // a goroutine calls pace
	blocked []*lane   // those that wait until one of running ends
	down    *outage   // why it is not tried; nil if it is
	probe   *job      // finds out whether it can be reached; nil if none does
}

// An outage is why a destination, or a tenant's mail, is not tried.
type outage struct {
	cause  error
	since  time.Time
	person bool // a person has suspended it
}

// A tenant's lanes take turns.
type tenant struct {
	id      store.TenantID
	lanes   map[*lane]struct{}
	running int
	memory  int64
	ready   []*lane // lanes with a job that may begin, in the order of served
	served  uint64  // dispatcher.served when an attempt of it began last
	inTurn  bool    // is in dispatcher.turns
	paused  bool    // by a person
}

// A lane is the jobs of a tenant that wait for one destination.
type lane struct {
	site    *site
	tenant  *tenant
	jobs    []*job
	running int
	served  uint64 // dispatcher.served when an attempt of it began last
	queued  bool   // is in tenant.ready or site.blocked
	busy    bool   // Next has no slot for it; it is offered again when there may be one
	waits   bool   // is in the gate
	gate    string // where it waited last while it was busy; "" if nowhere
	place   gatePlace
	asking  bool // Next is being asked for a slot, and has not answered yet
}

// mayBegin reports whether the first job of a lane may begin when its turn comes.
func (l *lane) mayBegin() bool {
	return len(l.jobs) > 0 && !l.busy && (l.site.down == nil || l.jobs[0].probe)
}

// site returns the site of a name. The caller must hold d.mu.
func (d *dispatcher) site(name string) *site {
	s := d.sites[name]
	if s == nil {
		if d.sites == nil {
			d.sites = make(map[string]*site)
		}
		s = &site{name: name, lanes: make(map[*lane]struct{})}
		d.sites[name] = s
		add(&d.index.looseSites, s)
	}
	return s
}

// tenant returns the tenant of an ID. The caller must hold d.mu.
func (d *dispatcher) tenant(id store.TenantID) *tenant {
	t := d.tenants[id]
	if t == nil {
		if d.tenants == nil {
			d.tenants = make(map[store.TenantID]*tenant)
		}
		t = &tenant{id: id, lanes: make(map[*lane]struct{})}
		d.tenants[id] = t
		add(&d.index.looseTenants, t)
	}
	return t
}

// lane returns the lane of a job. The caller must hold d.mu.
func (d *dispatcher) lane(name store.Lane) *lane {
	l := d.lanes[name]
	if l == nil {
		if d.lanes == nil {
			d.lanes = make(map[store.Lane]*lane)
		}
		l = &lane{site: d.site(name.Destination), tenant: d.tenant(name.Tenant)}
		l.site.lanes[l], l.tenant.lanes[l] = struct{}{}, struct{}{}
		d.lanes[name] = l
		add(&d.index.empty, l)
	}
	return l
}

// An index has those lanes, sites and tenants that are looked for again and again. The
// dispatcher's lock guards it.
type index struct {
	full         map[*lane]struct{}   // lanes with as many jobs as there is room for
	empty        map[*lane]struct{}   // lanes that may have no job
	looseSites   map[*site]struct{}   // sites that may have no lane
	looseTenants map[*tenant]struct{} // tenants that may have no lane
	down         map[*site]struct{}   // sites that are down
	paused       map[*tenant]struct{} // tenants that are paused
}

// add adds an element to a set, which may be nil.
func add[T comparable](set *map[T]struct{}, e T) {
	if *set == nil {
		*set = make(map[T]struct{})
	}
	(*set)[e] = struct{}{}
}

// setJobs changes the jobs of a lane. The caller must hold d.mu.
func (d *dispatcher) setJobs(l *lane, jobs []*job) {
	l.jobs = jobs
	if len(jobs) >= d.laneRoom() {
		add(&d.index.full, l)
	} else {
		delete(d.index.full, l)
	}
	if len(jobs) == 0 {
		add(&d.index.empty, l)
	}
}

// setOutage says why a site is down; nil if it isn't. The caller must hold d.mu.
func (d *dispatcher) setOutage(s *site, o *outage) {
	s.down = o
	if o != nil {
		add(&d.index.down, s)
	} else {
		delete(d.index.down, s)
	}
}

// sweep forgets lanes, destinations and tenants of which nothing is known.
func (d *dispatcher) sweep() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sweepGates()
	for l := range d.index.empty {
		switch {
		case len(l.jobs) > 0:
			delete(d.index.empty, l)
		case !l.queued && !l.busy && l.running == 0:
			delete(d.index.empty, l)
			delete(d.lanes, store.Lane{Destination: l.site.name, Tenant: l.tenant.id})
			delete(l.site.lanes, l)
			delete(l.tenant.lanes, l)
			add(&d.index.looseSites, l.site)
			add(&d.index.looseTenants, l.tenant)
		}
	}
	for s := range d.index.looseSites {
		switch {
		case len(s.lanes) > 0:
			delete(d.index.looseSites, s)
		case s.running == 0 && s.memory == 0 && s.down == nil && s.probe == nil && !s.paced:
			delete(d.index.looseSites, s)
			delete(d.sites, s.name)
		}
	}
	for t := range d.index.looseTenants {
		switch {
		case len(t.lanes) > 0:
			delete(d.index.looseTenants, t)
		case t.running == 0 && t.memory == 0 && !t.inTurn && !t.paused:
			delete(d.index.looseTenants, t)
			delete(d.tenants, t.id)
		}
	}
	d.pump()
}

// take claims the jobs that wait in lanes, except probes. The caller must hold d.mu.
func (d *dispatcher) take(lanes map[*lane]struct{}) (taken []*job) {
	for l := range lanes {
		var kept []*job
		for _, j := range l.jobs {
			if j.probe {
				kept = append(kept, j)
				continue
			}
			j.claimed = true
			if j.leased {
				d.waiting--
			}
			taken = append(taken, j)
		}
		if len(kept) < len(l.jobs) {
			d.setJobs(l, kept)
		}
	}
	return taken
}

// takeAll is take for all lanes.
func (d *dispatcher) takeAll() (taken []*job) {
	for _, s := range d.sites {
		taken = append(taken, d.take(s.lanes)...)
	}
	return taken
}
