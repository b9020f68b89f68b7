package credentials

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// maxWait is the longest wait of a login for its rate limits and its hash.
	// It is below the shortest timeout that mail libraries have by default.
	maxWait = 5 * time.Second

	// maxKnownWait is the same for a login from the network of the user's last
	// connection, except that its rate limits still count maxWait at most. After
	// a restart all tools log in at once: at 50 hashes a second 1,500 of them
	// are served in this time. If a tool gives up before, its password is still
	// verified, and its next login costs no hash.
	maxKnownWait = 30 * time.Second
)

// The causes of ErrBusy.
var (
	errNoHash   = errors.New("no hash in time")
	errFailures = errors.New("too many wrong passwords")
)

func busy(cause error) error { return fmt.Errorf("%w: %w", ErrBusy, cause) }

// verify reports whether the password is right. fresh is true if the answer was
// not known before the call.
func (m *Manager) verify(ctx context.Context, a *attempt) (ok, fresh bool, err error) {
	if ok, found := m.verdict(a); found {
		return ok, false, nil
	}
	wait := maxWait
	if a.known {
		wait = maxKnownWait
	}
	ctx, cancel := context.WithTimeoutCause(ctx, wait, errNoHash)
	defer cancel()
	ok, err = m.singleflight(ctx, a, func() (bool, error) { return m.hash(ctx, a) })
	return ok, true, err
}

// hash waits for the rate limits and the hash queue, then checks the password
// and stores the verdict.
func (m *Manager) hash(ctx context.Context, a *attempt) (ok bool, err error) {
	latest := time.Now().Add(maxWait)
	for {
		if err := m.waitForLimit(ctx, a, latest); err != nil {
			return false, busy(err)
		}
		if err := m.queue.acquire(ctx, m.request(a)); err != nil {
			return false, busy(err)
		}
		// Other logins may have used up the limit, or found the verdict, while
		// this one waited.
		if ok, found := m.verdict(a); found {
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
	ok, a.isOld = a.hash.matches(a.password, a.old)
	m.storeVerdict(a, ok)
	return ok, nil
}

// request returns the attempt's request to the hash queue.
func (m *Manager) request(a *attempt) request {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := request{class: unknownNetwork, owner: a.network, failures: m.limits.failures(a.network)}
	if a.known {
		r.class = knownNetwork
	}
	return r
}

// waitForLimit waits until the rate limits allow the attempt. If that is after
// latest, or after ctx ends, it fails at once.
func (m *Manager) waitForLimit(ctx context.Context, a *attempt, latest time.Time) error {
	delay := m.delay(a)
	if delay == 0 {
		return nil
	}
	if end, _ := ctx.Deadline(); time.Until(end) <= delay || time.Until(latest) <= delay {
		return errFailures
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
	return m.limits.delay(a)
}
