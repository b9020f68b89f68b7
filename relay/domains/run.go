package domains

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

const (
	// batch is how many domains a process takes at once, and parallel how many of them
	// it looks at at the same time.
	batch, parallel = 100, 32

	// lease is how long a process has for a batch. After that other processes look at
	// what is left: a look and OnChange take a minute at most, and four times that for a
	// batch.
	lease = 5 * time.Minute

	// idle is how often a process asks what is due, and retry how long it waits after a
	// failure.
	idle, retry = 5 * time.Second, 30 * time.Second
)

// Run looks at domains when they are due, until ctx ends. It returns nil then. Any number
// of processes may run it; each domain is looked at by one of them. A process holds 100
// domains at once and looks at 32 of them at the same time, however many are due.
func (m *Manager) Run(ctx context.Context) error {
	if err := m.ready(); err != nil {
		return err
	}
	for {
		n, err := m.round(ctx)
		wait := idle
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			m.logger().Warn("domains: the store failed, domains are looked at later", "error", err)
			wait = retry
		case n == batch:
			wait = 0
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// round looks at up to a batch of domains that are due, and returns how many.
func (m *Manager) round(ctx context.Context) (n int, err error) {
	due, err := m.Store.DueSetups(ctx, now(), now().Add(lease), batch)
	if err != nil {
		return 0, err
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for i := range due {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if e := m.look(ctx, &due[i]); e != nil {
				mu.Lock()
				defer mu.Unlock()
				err = e
			}
		})
	}
	wg.Wait()
	return len(due), err
}

// look processes a setup that is due. If another caller has changed it in between, look
// leaves it to that caller. After a panic it is due again when the lease is over.
func (m *Manager) look(ctx context.Context, s *store.Setup) error {
	err := m.process(ctx, s)
	if isConflict(err) || errors.Is(err, errPanic) {
		return nil
	}
	return wrap("look at", s.Domain, err)
}
