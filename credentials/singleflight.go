package credentials

import (
	"context"
	"net/netip"
)

// A flightKey identifies logins that share one hash: the same password for the
// same user from the same network. A tool that repeats an old password a thousand
// times at once then costs one hash. Networks are kept apart, so that none waits
// for the rate limit of another.
type flightKey struct {
	digest  digest
	network netip.Prefix
}

// singleflight runs decide for the attempt, or waits for a call that does so for
// the same password. If that call returns without a verdict, because its context
// ended or it was refused a hash, one of the waiting calls runs decide in its
// place.
func (m *Manager) singleflight(ctx context.Context, a *attempt, decide func() (ok bool, err error)) (ok bool, err error) {
	key := flightKey{a.digest, a.network}
	for {
		done, leader := m.joinFlight(key)
		if leader {
			defer m.endFlight(key)
			return decide()
		}
		select {
		case <-done:
		case <-ctx.Done():
			return false, busy(context.Cause(ctx))
		}
		if ok, found := m.verdict(a); found {
			return ok, nil
		}
	}
}

// joinFlight returns the channel that is closed when the flight of the key ends.
// If there is none, the caller becomes the leader of a new one and must call
// endFlight.
func (m *Manager) joinFlight(key flightKey) (done <-chan struct{}, leader bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if done, ok := m.flights[key]; ok {
		return done, false
	}
	m.flights[key] = make(chan struct{})
	return nil, true
}

func (m *Manager) endFlight(key flightKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.flights[key])
	delete(m.flights, key)
}
