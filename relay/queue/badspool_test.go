package queue_test

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// badSpool is a Spool that fails where a test wants it to.
type badSpool struct {
	store.Spool
	put    func(ctx context.Context, put func() error) error
	body   func(ctx context.Context, body func() (io.ReadCloser, error)) (io.ReadCloser, error)
	lease  func(ctx context.Context, lease func() ([]store.Leased, error)) ([]store.Leased, error)
	died   func(ctx context.Context, lease func() ([]store.Leased, error)) ([]store.Leased, error) // Lease with Deaths
	renew  func(ctx context.Context, renew func() (time.Time, error)) (time.Time, error)
	nodes  func(ctx context.Context, nodes func() ([]store.Node, error)) ([]store.Node, error)
	settle func(ctx context.Context, os []store.Outcome, settle func() ([]store.Outcome, error)) ([]store.Outcome, error)
}

func (s *badSpool) Put(ctx context.Context, m store.Mail, ds []store.Delivery, body io.Reader, events ...store.Event) error {
	put := func() error { return s.Spool.Put(ctx, m, ds, body, events...) }
	if s.put != nil {
		return s.put(ctx, put)
	}
	return put()
}

func (s *badSpool) Body(ctx context.Context, mail string) (io.ReadCloser, error) {
	body := func() (io.ReadCloser, error) { return s.Spool.Body(ctx, mail) }
	if s.body != nil {
		return s.body(ctx, body)
	}
	return body()
}

func (s *badSpool) Lease(ctx context.Context, r store.LeaseRequest) ([]store.Leased, error) {
	lease := func() ([]store.Leased, error) { return s.Spool.Lease(ctx, r) }
	switch {
	case s.lease != nil && r.Deaths == 0:
		return s.lease(ctx, lease)
	case s.died != nil && r.Deaths > 0:
		return s.died(ctx, lease)
	}
	return lease()
}

func (s *badSpool) Renew(ctx context.Context, node string) (time.Time, error) {
	renew := func() (time.Time, error) { return s.Spool.Renew(ctx, node) }
	if s.renew != nil {
		return s.renew(ctx, renew)
	}
	return renew()
}

func (s *badSpool) Nodes(ctx context.Context) ([]store.Node, error) {
	nodes := func() ([]store.Node, error) { return s.Spool.Nodes(ctx) }
	if s.nodes != nil {
		return s.nodes(ctx, nodes)
	}
	return nodes()
}

func (s *badSpool) Settle(ctx context.Context, os []store.Outcome) ([]store.Outcome, error) {
	settle := func() ([]store.Outcome, error) { return s.Spool.Settle(ctx, os) }
	if s.settle != nil {
		return s.settle(ctx, os, settle)
	}
	return settle()
}

// unreliable is a spool that fails all that is asked of it but Put while away
// says so.
func unreliable(spool store.Spool, away *atomic.Bool) *badSpool {
	down := errors.New("the line is down")
	return &badSpool{
		Spool: spool,
		renew: func(_ context.Context, renew func() (time.Time, error)) (time.Time, error) {
			if away.Load() {
				return time.Time{}, down
			}
			return renew()
		},
		lease: func(_ context.Context, lease func() ([]store.Leased, error)) ([]store.Leased, error) {
			if away.Load() {
				return nil, down
			}
			return lease()
		},
		settle: func(_ context.Context, _ []store.Outcome, settle func() ([]store.Outcome, error)) ([]store.Outcome, error) {
			if away.Load() {
				return nil, down
			}
			return settle()
		},
	}
}
