package credentials

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

const (
	// maxWait is the longest wait of a login for its rate limits and its hash.
	// It is below the shortest timeout that mail libraries have by default.
	maxWait = 5 * time.Second

	// maxKnownWait is the same for a login from the user's last address, whose
	// rate limits still count maxWait at most. After a restart all tools log in
	// at once: at 60 hashes a second 1,800 of them are served in this time. A
	// tool that gives up before finds its password verified when it retries.
	maxKnownWait = 30 * time.Second

	// How many passwords are remembered that were verified, and refused. They
	// are apart, so that no flood of wrong ones pushes out a right one.
	maxVerified = 1 << 16
	maxRefused  = 1 << 16
)

// What ErrBusy is wrapped with.
var (
	errWaited  = errors.New("no hash in time")
	errGuesses = errors.New("too many wrong passwords")
)

func busy(cause error) error { return fmt.Errorf("%w: %w", ErrBusy, cause) }

// A flight is a hash that is waited for or computed. Attempts from one prefix
// with the same password share it: a stale tool that knocks a thousand times
// at once costs one hash. Prefixes are apart, so that none waits for the brakes
// of another.
type flight struct {
	digest digest
	prefix netip.Prefix
}

// verify reports whether the password is right. It is fresh if that had to be
// waited for.
func (m *Manager) verify(ctx context.Context, a *attempt) (ok, fresh bool, err error) {
	if ok, known := m.remembered(a); known {
		return ok, false, nil
	}
	wait := maxWait
	if a.home {
		wait = maxKnownWait
	}
	ctx, cancel := context.WithTimeoutCause(ctx, wait, errWaited)
	defer cancel()
	f := flight{a.digest, a.prefix}
	for {
		landed, leads := m.board(f)
		if leads {
			defer m.land(f)
			ok, err = m.hash(ctx, a)
			return ok, true, err
		}
		select {
		case <-landed:
		case <-ctx.Done():
			return false, false, busy(context.Cause(ctx))
		}
		// A flight that ended without a verdict has another leader next.
		if ok, known := m.remembered(a); known {
			return ok, true, nil
		}
	}
}

// board joins the flight. The first on board leads it, and must land it.
func (m *Manager) board(f flight) (landed <-chan struct{}, leads bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if landed, ok := m.flights[f]; ok {
		return landed, false
	}
	m.flights[f] = make(chan struct{})
	return nil, true
}

func (m *Manager) land(f flight) {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.flights[f])
	delete(m.flights, f)
}

// hash waits until the brakes let the attempt pass and its turn has come, and
// checks the password.
func (m *Manager) hash(ctx context.Context, a *attempt) (ok bool, err error) {
	latest := time.Now().Add(maxWait)
	for {
		if err := m.brake(ctx, a, latest); err != nil {
			return false, busy(err)
		}
		if err := m.queue.acquire(ctx, m.claim(a)); err != nil {
			return false, busy(err)
		}
		// While it waited others may have guessed wrong, or found out the same.
		if ok, known := m.remembered(a); known {
			m.queue.release()
			return ok, nil
		}
		if m.delay(a) == 0 {
			break
		}
		m.queue.release()
	}
	defer m.queue.release()
	if m.onHash != nil {
		m.onHash()
	}
	m.work.Add(a.hash.cost.work())
	ok = a.hash.matches(a.password)
	m.remember(a, ok)
	return ok, nil
}

func (m *Manager) claim(a *attempt) claim {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := claim{class: stranger, owner: a.prefix, guesses: m.brakes.guesses(a.prefix)}
	if a.home {
		c.class = resident
	}
	return c
}

// brake waits until the rate limits let the attempt pass. If that is after
// latest, or after ctx ends, it fails at once.
func (m *Manager) brake(ctx context.Context, a *attempt, latest time.Time) error {
	delay := m.delay(a)
	if delay == 0 {
		return nil
	}
	if end, _ := ctx.Deadline(); time.Until(end) <= delay || time.Until(latest) <= delay {
		return errGuesses
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (m *Manager) delay(a *attempt) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.brakes.delay(a)
}

func (m *Manager) remembered(a *attempt) (ok, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.verified.Get(a.digest); ok {
		return true, true
	}
	_, known = m.refused.Get(a.digest)
	return false, known
}

func (m *Manager) remember(a *attempt, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ok {
		m.verified.Put(a.digest, struct{}{})
		return
	}
	m.refused.Put(a.digest, struct{}{})
	m.brakes.guessed(a)
}
