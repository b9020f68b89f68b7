package webhook

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

const (
	// keepAttempts is how many of the last requests to an endpoint are kept.
	keepAttempts = 50

	// maxPending is how many requests wait to be written. Further ones are not kept.
	maxPending = 20_000

	// writeEach is how often they are written, and writeShare is how much of the time
	// that may take: one part of so many.
	writeEach  = time.Second
	writeShare = 10

	// writeAtOnce is how many are written in one step.
	writeAtOnce = 1000

	// writeTime is how long writing may take.
	writeTime = 10 * time.Second

	// minFailed is how many requests for events must have failed before an endpoint is
	// switched off, however long ago the first one was.
	minFailed = 3
)

// attempts are the requests that wait to be written.
type attempts struct {
	mu   sync.Mutex
	of   map[attemptsOf][]store.EndpointAttempt // the oldest first
	size int                                    // of all
}

type attemptsOf struct {
	tenant   store.TenantID
	endpoint string
}

// add adds one. Only the last ones of an endpoint are needed.
func (p *attempts) add(a store.EndpointAttempt) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := attemptsOf{a.Tenant, a.Endpoint}
	list := p.of[key]
	switch {
	case len(list) == keepAttempts:
		copy(list, list[1:])
		list[len(list)-1] = a
		return
	case p.size >= maxPending:
		return
	case p.of == nil:
		p.of = make(map[attemptsOf][]store.EndpointAttempt)
	}
	p.of[key] = append(list, a)
	p.size++
}

// take returns all, those of an endpoint beside each other.
func (p *attempts) take() (list []store.EndpointAttempt) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list = make([]store.EndpointAttempt, 0, p.size)
	for _, some := range p.of {
		list = append(list, some...)
	}
	p.of, p.size = nil, 0
	slices.SortFunc(list, func(a, b store.EndpointAttempt) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Endpoint, b.Endpoint), cmp.Compare(a.ID, b.ID))
	})
	return list
}

// OnAttempt remembers a request. Run writes it. It is for [Sender].OnAttempt.
func (m *Manager) OnAttempt(a store.EndpointAttempt) { m.attempts.add(a) }

// Attempts returns the last requests to an endpoint, at most 50, the newest first. Those
// of the last second may be missing, longer if the Store is slow, and a crash loses them.
func (m *Manager) Attempts(ctx context.Context, tenant store.TenantID, id string) ([]store.EndpointAttempt, error) {
	if err := m.readyFor(tenant); err != nil {
		return nil, err
	}
	list, err := m.Store.ListEndpointAttempts(ctx, tenant, id, keepAttempts)
	return list, wrap("list requests", err)
}

// Test sends a test event to an endpoint as [Sender.Test] does, also if it is switched
// off, and keeps the request among the last ones, unless ctx ends before the answer. The
// request says what became of it; the error is only about the Manager:
// [store.ErrNotFound] means that the tenant has no such endpoint. A test that works ends
// [Entry].Failing; one that fails does not count for it, nor for SwitchOffAfter.
func (m *Manager) Test(ctx context.Context, tenant store.TenantID, id string) (store.EndpointAttempt, error) {
	e, err := m.get(ctx, tenant, id)
	if err != nil {
		return store.EndpointAttempt{}, wrap("test endpoint", err)
	}
	k, err := m.open(&e)
	if err != nil {
		return store.EndpointAttempt{}, wrap("test endpoint", err)
	}
	a, err := m.Sender.test(ctx, &Endpoint{ID: id, URL: k.URL, Secrets: k.secrets(time.Now())})
	if a.Tenant = tenant; a.Reason == "" && err != nil {
		a.Reason = strings.TrimPrefix(err.Error(), "webhook: ")
	}
	if ctx.Err() == nil { // otherwise the caller has given up, which says nothing of the endpoint
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTime)
		defer cancel()
		m.keep(ctx, []store.EndpointAttempt{a})
	}
	return a, nil
}

// Run writes the last requests and which endpoints fail, until ctx ends. It then writes
// what it has, so its context should end after that of [Sender.Run].
//
// Run returns an error only if it cannot begin: a field is wrong, or Run is being called
// already.
func (m *Manager) Run(ctx context.Context) error {
	if err := m.ready(); err != nil {
		return err
	}
	if !m.running.CompareAndSwap(false, true) {
		return errors.New("webhook: Run is being called already")
	}
	defer m.running.Store(false)
	timer := time.NewTimer(writeEach)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			m.writeAll(context.WithoutCancel(ctx))
			return nil
		case <-timer.C:
		}
		began := time.Now()
		m.writeAll(ctx)
		timer.Reset(max(writeEach, writeShare*time.Since(began)))
	}
}

// writeAll writes what waits. What cannot be written is lost.
func (m *Manager) writeAll(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	for some := range slices.Chunk(m.attempts.take(), writeAtOnce) {
		if !m.keep(ctx, some) {
			return
		}
	}
}

// keep is write, and reports whether that worked.
func (m *Manager) keep(ctx context.Context, list []store.EndpointAttempt) bool {
	err := m.write(ctx, list)
	if err != nil {
		m.logger().Warn("webhook: the last requests cannot be kept, they are not shown", "error", err)
	}
	return err == nil
}

// write writes requests, of which those of an endpoint are beside each other, and what
// they say of their endpoints.
func (m *Manager) write(ctx context.Context, list []store.EndpointAttempt) error {
	if err := m.Store.AddEndpointAttempts(ctx, list, keepAttempts); err != nil {
		return err
	}
	var tenants []store.TenantID
	for _, a := range list {
		if len(tenants) == 0 || tenants[len(tenants)-1] != a.Tenant {
			tenants = append(tenants, a.Tenant)
		}
	}
	endpoints, err := m.Store.ListEndpoints(ctx, tenants)
	if err != nil {
		return err
	}
	is := make(map[attemptsOf]store.Endpoint, len(endpoints))
	for _, e := range endpoints {
		is[attemptsOf{e.Tenant, e.ID}] = e
	}
	for len(list) > 0 {
		key := attemptsOf{list[0].Tenant, list[0].Endpoint}
		n := 1
		for n < len(list) && (attemptsOf{list[n].Tenant, list[n].Endpoint}) == key {
			n++
		}
		if e, ok := is[key]; ok {
			if err := m.judge(ctx, e, list[:n]); err != nil {
				return err
			}
		}
		list = list[n:]
	}
	return nil
}

// judge sets since when an endpoint fails, and switches it off if that is too long. It
// writes only if that changes. If another caller changes the endpoint meanwhile, it reads
// it again.
func (m *Manager) judge(ctx context.Context, e store.Endpoint, list []store.EndpointAttempt) error {
	err := store.ErrConflict
	for try := 0; try < tries && errors.Is(err, store.ErrConflict); try++ {
		if try > 0 {
			if e, err = m.get(ctx, e.Tenant, e.ID); err != nil {
				break
			}
		}
		err = m.judgeOnce(ctx, e, list)
	}
	if errors.Is(err, store.ErrNotFound) { // it was deleted
		return nil
	}
	return err
}

func (m *Manager) judgeOnce(ctx context.Context, e store.Endpoint, list []store.EndpointAttempt) error {
	failing, last := failingSince(e.Failing, list)
	off := false
	if e.Off == "" && !last.IsZero() {
		var err error
		if off, err = m.failsTooLong(ctx, &e, failing, last); err != nil {
			return err
		}
	}
	if failing.Equal(e.Failing) && !off {
		return nil
	}
	if e.Failing = failing; off {
		e.Off, e.OffSince = OffFailing, now()
	}
	err := m.Store.SetEndpoint(ctx, e)
	if err == nil && off {
		m.known.forget(e.Tenant)
		m.switchedOff(ctx, e)
	}
	return err
}

// failingSince returns since when an endpoint fails after some more requests, and when the
// last of them was made if it failed. A test that fails changes neither: it may be that
// nothing else is sent for days, and then nothing else would end the failure.
func failingSince(since time.Time, list []store.EndpointAttempt) (failing, last time.Time) {
	failing = since
	for _, a := range list {
		switch {
		case a.Reason == "":
			failing, last = time.Time{}, time.Time{}
		case a.Attempt > 0:
			last = a.At
			if failing.IsZero() {
				failing = a.At
			}
		}
	}
	return failing, last
}

// failsTooLong reports whether an endpoint that fails is to be switched off: after
// SwitchOffAfter, if at least minFailed requests have failed in that time.
func (m *Manager) failsTooLong(ctx context.Context, e *store.Endpoint, failing, last time.Time) (bool, error) {
	after := m.SwitchOffAfter
	if after == 0 {
		after = 5 * 24 * time.Hour
	}
	if after < 0 || last.Sub(failing) < after {
		return false, nil
	}
	list, err := m.Store.ListEndpointAttempts(ctx, e.Tenant, e.ID, keepAttempts)
	failed := 0
	for _, a := range list {
		if a.Attempt > 0 && a.Reason != "" && !a.At.Before(failing) {
			failed++
		}
	}
	return failed >= minFailed, err
}

// OnGone switches an endpoint off that has answered 410, unless it has another URL by
// now. It is for [Sender].OnGone.
func (m *Manager) OnGone(tenant store.TenantID, gone Endpoint) {
	ctx, cancel := context.WithTimeout(context.Background(), writeTime)
	defer cancel()
	var done store.Endpoint
	_, err := m.change(ctx, "switch off endpoint", tenant, gone.ID, func(e *store.Endpoint) error {
		done = store.Endpoint{}
		k, err := m.open(e)
		if err != nil {
			return err
		}
		if e.Off == "" && k.URL == gone.URL {
			e.Off, e.OffSince = OffGone, now()
			done = *e
		}
		return nil
	})
	switch {
	case err != nil && !errors.Is(err, store.ErrNotFound):
		m.logger().Warn("webhook: an endpoint that answered 410 cannot be switched off, its next answer tries again",
			"tenant", tenant, "endpoint", gone.ID, "error", err)
	case err == nil && done.ID != "":
		m.switchedOff(ctx, done)
	}
}

// switchedOff tells that the Manager has switched an endpoint off.
func (m *Manager) switchedOff(ctx context.Context, e store.Endpoint) {
	m.logger().LogAttrs(ctx, slog.LevelInfo, "webhook: an endpoint is switched off",
		slog.String("tenant", string(e.Tenant)), slog.String("endpoint", e.ID), slog.String("reason", e.Off))
	if m.OnSwitchedOff != nil {
		entry, _ := m.entry(&e)
		m.OnSwitchedOff(ctx, e.Tenant, entry)
	}
}
