package domains

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// When domains are looked at.
const (
	firstLook     = time.Minute         // after a domain was added; then ever later
	longestWait   = time.Hour           // between two looks at an unverified domain
	activelyFor   = 14 * 24 * time.Hour // it is looked at so often
	verifiedEvery = 6 * time.Hour
	missedEvery   = time.Hour // after a look at a verified domain that missed a record
	failingEvery  = 15 * time.Minute
	failedEvery   = time.Hour
	failedFor     = 30 * 24 * time.Hour // a failed domain is looked at so often
	rarely        = 7 * 24 * time.Hour  // after activelyFor and failedFor
	keepGone      = 4 * 24 * time.Hour  // a setup stays after its domain was deleted, to sign the mail in the queue
	tellAgain     = time.Minute

	// lookTime is how long a look may ask the DNS, and tellTime how long a call of
	// OnChange may take.
	lookTime, tellTime = 40 * time.Second, 20 * time.Second

	// maxMisses is how many looks in a row have to miss a record, an hour apart, until a
	// verified domain is failing.
	maxMisses = 3
)

// errPanic is the error of a look in which a Resolver panicked. It is logged already.
var errPanic = errors.New("a panic, see the log")

// process looks at a domain and writes what follows. s is changed to what was written. A
// panic is an error.
func (m *Manager) process(ctx context.Context, s *store.Setup) (err error) {
	defer func() {
		if p := recover(); p != nil {
			m.logPanic("a look", s, p)
			err = errPanic
		}
	}()
	gone, err := m.isGone(ctx, s)
	if err != nil || gone {
		return err
	}
	if ended(s) {
		if err := m.begin(s, s.Secrets != ""); err != nil {
			return err
		}
		return m.settle(ctx, s)
	}
	wanted := m.wanted(s)
	l := readLook(s)
	delegated := s.Secrets == ""
	looking, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	if !delegated || m.zoneAnswers(looking) {
		good := m.lookAt(looking, s, wanted, &l)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		m.move(s, &l, good)
	}
	l.writeTo(s)
	s.Checked = now()
	s.Next = s.Checked.Add(jitter(m.wait(s, &l)))
	return m.settle(ctx, s)
}

// isGone reports whether the tenant has deleted the domain. Its setup is dropped once
// the mail in the queue is gone.
func (m *Manager) isGone(ctx context.Context, s *store.Setup) (bool, error) {
	d, err := m.Domains.Domain(ctx, s.Tenant, s.Domain)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return false, err
	}
	if err == nil && d.Created.Equal(s.Added) {
		return false, nil
	}
	l := readLook(s)
	if l.Gone.IsZero() {
		l.Gone = now()
	}
	if !s.Holds || time.Since(l.Gone) >= keepGone {
		defer m.forget(s.Domain)
		return true, m.Store.DropSetup(ctx, *s)
	}
	l.writeTo(s)
	s.Next = l.Gone.Add(keepGone)
	return true, m.write(ctx, s)
}

// lookAt looks all records up. It returns Right if all required ones are, Unknown if the
// DNS gave no answer for one, and Wrong otherwise.
func (m *Manager) lookAt(ctx context.Context, s *store.Setup, wanted []Record, l *look) Status {
	before := l.Records
	l.Records = make(map[string]seen)
	all := Right
	for i := range wanted {
		r := &wanted[i]
		got, was := m.see(ctx, s.Domain, r), before[r.Name]
		got.Right, got.Ever = got.Status == Right, was.Ever || got.Status == Right
		if got.Status == Unknown {
			got.Right = was.Right
		}
		l.Records[r.Name] = got
		switch {
		case !r.Required || got.Status == Right:
		case got.Status == Unknown:
			all = Unknown
		case all == Right:
			all = Wrong
		}
	}
	return all
}

// move changes the state of a setup after a look.
func (m *Manager) move(s *store.Setup, l *look, found Status) {
	m.turnKeys(s, l)
	at := now()
	to := func(state State) {
		if s.State != string(state) {
			s.State, s.Since = string(state), at
		}
	}
	switch {
	case found == Right:
		l.Misses, l.Missed = 0, time.Time{}
		s.Holds = true
		to(Verified)
	case found == Unknown:
	case s.State == string(Verified):
		if at.Sub(l.Missed) >= missedEvery {
			l.Misses, l.Missed = l.Misses+1, at
		}
		if l.Misses >= maxMisses {
			to(Failing)
		}
	case s.State == string(Failing) && at.Sub(s.Since) >= m.grace():
		to(Failed)
	}
}

// turnKeys lets a new key take over once its record is seen.
func (m *Manager) turnKeys(s *store.Setup, l *look) {
	keys := readKeys(s)
	changed := false
	for i := range keys {
		if keys[i].Seen.IsZero() && l.Records[keys[i].Selector+"._domainkey."+s.Domain].Right {
			keys[i].Seen, changed = now(), true
			for j := i + 1; j < len(keys); j++ {
				if keys[j].Retired.IsZero() {
					keys[j].Retired = now()
				}
			}
		}
	}
	if changed {
		_ = writeKeys(s, keys) // they were read a moment ago
	}
}

// wait returns how long after a look the next one is due.
func (m *Manager) wait(s *store.Setup, l *look) time.Duration {
	since := time.Since(s.Since)
	switch State(s.State) {
	case Verified:
		if l.Misses > 0 {
			return missedEvery
		}
		if keys := readKeys(s); len(keys) > 0 && keys[0].Seen.IsZero() {
			return failingEvery // a new key waits for its record
		}
		return verifiedEvery
	case Failing:
		return failingEvery
	case Failed:
		if since < failedFor {
			return failedEvery
		}
		return rarely
	}
	if since < activelyFor {
		return min(max(since, firstLook), longestWait)
	}
	return rarely
}

// jitter spreads looks, so that domains that were added together are not looked at
// together for ever.
func jitter(d time.Duration) time.Duration {
	return (d + rand.N(d/10)).Truncate(time.Microsecond)
}

// settle writes a setup and tells the product of a new state. If the process ends before
// the product was told, another one tells it.
func (m *Manager) settle(ctx context.Context, s *store.Setup) error {
	if s.State == s.Told || m.OnChange == nil {
		if s.State != s.Told {
			m.log(s)
		}
		s.Told = s.State
		return m.write(ctx, s)
	}
	next := s.Next
	if soon := now().Add(tellAgain); soon.Before(next) {
		s.Next = soon
	}
	if err := m.write(ctx, s); err != nil {
		return err
	}
	m.log(s)
	if !m.tell(ctx, s) {
		return nil // it is told again when it is next due
	}
	s.Told, s.Next = s.State, next
	return m.write(ctx, s)
}

// tell calls OnChange and reports whether it returned in time.
func (m *Manager) tell(ctx context.Context, s *store.Setup) (told bool) {
	defer func() {
		if p := recover(); p != nil {
			m.logPanic("OnChange", s, p)
			told = false
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, tellTime)
	defer cancel()
	m.OnChange(ctx, m.domain(s))
	if ctx.Err() == nil {
		return true
	}
	m.logger().Error("domains: OnChange took too long, so it is called again", "tenant", s.Tenant, "domain", s.Domain, "limit", tellTime)
	return false
}

func (m *Manager) logPanic(where string, s *store.Setup, p any) {
	m.logger().Error("domains: panic in "+where, "tenant", s.Tenant, "domain", s.Domain, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
}

func (m *Manager) log(s *store.Setup) {
	m.logger().Info("domains: the state of a domain has changed", "tenant", s.Tenant, "domain", s.Domain, "from", s.Told, "to", s.State)
}
