package queue

import (
	"io"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/store"
)

// A parcel is a mail that this node works on. Its jobs share it.
type parcel struct {
	mail store.Mail

	// The dispatcher's lock guards these:
	charge int64 // what it counts for in dispatcher.memory
	share  int64 // what each job of it counts for in site.memory
	jobs   int   // how many are not finished

	loading chan struct{}  // holds one token, which guards what follows
	message *relay.Message // nil until it is loaded
	content io.Closer      // to be closed when no job needs the message; nil if nothing is
}

func newParcel(m *store.Mail) *parcel {
	p := &parcel{mail: *m, loading: make(chan struct{}, 1)}
	p.loading <- struct{}{}
	return p
}

// A job is the work of one delivery attempt: the recipients of a mail that go to
// one destination. This node has leased them until the job ends.
type job struct {
	parcel *parcel
	lane   store.Lane
	due    []store.Delivery
	leased bool // from the spool, not handed over by Forward
	probe  bool // finds out whether the destination can be reached
	alone  bool // a node died with it, so nothing else is tried beside it
	unsent bool // a notice that a node had not released when it died

	// The dispatcher's lock guards these:
	started time.Time // when the attempt began; zero if none did
	claimed bool      // a goroutine is about to settle it
	trial   bool      // a node died with it; counted in dispatcher.trials
}

// group makes one job of the deliveries to each destination.
func (q *Queue) group(p *parcel, ds []store.Delivery) []*job {
	tenant := p.mail.Tenant
	if q.Destination == nil {
		p.jobs = 1
		return []*job{{parcel: p, lane: store.Lane{Tenant: tenant}, due: append([]store.Delivery(nil), ds...)}}
	}
	var jobs []*job
	byName := make(map[string]*job)
	for _, d := range ds {
		j := byName[d.Destination]
		if j == nil {
			j = &job{parcel: p, lane: store.Lane{Destination: d.Destination, Tenant: tenant}}
			byName[d.Destination] = j
			jobs = append(jobs, j)
		}
		j.due = append(j.due, d)
	}
	p.jobs = len(jobs)
	return jobs
}

// jobsOf makes jobs of what was leased, one for each mail and destination.
func (q *Queue) jobsOf(leased []store.Leased) (jobs []*job) {
	var ids []string
	mails := make(map[string]*store.Mail)
	due := make(map[string][]store.Delivery)
	for i := range leased {
		d := leased[i].Delivery
		if mails[d.Mail] == nil {
			mails[d.Mail] = &leased[i].Mail
			ids = append(ids, d.Mail)
		}
		due[d.Mail] = append(due[d.Mail], d)
	}
	for _, id := range ids {
		p := newParcel(mails[id])
		p.mail.ID = id
		jobs = append(jobs, q.group(p, due[id])...)
	}
	for _, j := range jobs {
		j.leased = true
	}
	return jobs
}
