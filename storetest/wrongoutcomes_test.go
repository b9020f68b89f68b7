package storetest_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
	"github.com/gatepost-mail/gatepost/storetest"
)

// More ways to write a spool wrongly, see spoolMistakes: what takes two steps, and
// what sticks.
func init() {
	for name, m := range map[string]spoolMistake{
		"outcomes are recorded one by one": {
			make:  func(s store.Spool) store.Spool { return oneByOne{s} },
			name:  "Settle/AllOrNone",
			words: "all of them or, with an error, none",
		},
		"what was once said sticks": {
			make:  func(s store.Spool) store.Spool { return sticky{s} },
			name:  "Settle/AnythingToNothing",
			words: "its Deaths are 0, and it has these",
		},
		"deliveries are there before the content": {
			make:  func(s store.Spool) store.Spool { return early{s, new(sync.Map)} },
			name:  "Race/PutIsWhole",
			words: "each method is atomic",
		},
	} {
		spoolMistakes[name] = m
	}
}

type oneByOne struct{ store.Spool }

func (s oneByOne) Settle(ctx context.Context, outcomes []store.Outcome) (lost []store.Outcome, err error) {
	for _, o := range outcomes {
		if len(o.Reason) > 16_384 {
			return lost, errors.New("too long")
		}
		l, err := s.Spool.Settle(ctx, []store.Outcome{o})
		if err != nil {
			return lost, err
		}
		lost = append(lost, l...)
	}
	return lost, nil
}

type sticky struct{ store.Spool }

func (s sticky) Settle(ctx context.Context, outcomes []store.Outcome) ([]store.Outcome, error) {
	all, err := s.Deliveries(ctx, store.Filter{}, store.Page{Limit: 1000})
	if err != nil {
		return nil, err
	}
	return settleWith(ctx, s.Spool, outcomes, func(reason string) string {
		for _, l := range all {
			if reason == "" {
				reason = l.Delivery.Reason
			}
		}
		return reason
	})
}

type early struct {
	store.Spool
	late *sync.Map
}

func (s early) Put(ctx context.Context, m store.Mail, deliveries []store.Delivery, body io.Reader, events ...store.Event) error {
	s.late.Store(m.ID, true)
	defer s.late.Delete(m.ID)
	err := s.Spool.Put(ctx, m, deliveries, body, events...)
	time.Sleep(time.Millisecond)
	return err
}

func (s early) Body(ctx context.Context, mail string) (io.ReadCloser, error) {
	if _, late := s.late.Load(mail); late {
		return nil, store.ErrNotFound
	}
	return s.Spool.Body(ctx, mail)
}

// An adapter chooses its tokens.
func TestOtherTokens(t *testing.T) {
	storetest.RunSpool(t, func(*testing.T) func() store.Spool {
		s := otherTokens{new(memory.Store)}
		return func() store.Spool { return s }
	})
}

// otherTokens shows tokens that follow each other in no order.
type otherTokens struct{ store.Spool }

func other(lease int64) int64 {
	if lease <= 0 {
		return lease
	}
	return lease ^ 0x2545f4914f6cdd1c
}

func (s otherTokens) Put(ctx context.Context, m store.Mail, deliveries []store.Delivery, body io.Reader, events ...store.Event) error {
	deliveries = slices.Clone(deliveries)
	for i := range deliveries {
		deliveries[i].Lease = other(deliveries[i].Lease)
	}
	return s.Spool.Put(ctx, m, deliveries, body, events...)
}

func (s otherTokens) Lease(ctx context.Context, r store.LeaseRequest) ([]store.Leased, error) {
	leased, err := s.Spool.Lease(ctx, r)
	return shown(leased), err
}

func (s otherTokens) Deliveries(ctx context.Context, f store.Filter, page store.Page) ([]store.Leased, error) {
	list, err := s.Spool.Deliveries(ctx, f, page)
	return shown(list), err
}

func shown(list []store.Leased) []store.Leased {
	for i := range list {
		list[i].Delivery.Lease = other(list[i].Delivery.Lease)
	}
	return list
}

func (s otherTokens) Settle(ctx context.Context, outcomes []store.Outcome) ([]store.Outcome, error) {
	return translated(outcomes, func(o *store.Outcome) { o.Lease = other(o.Lease) }, func(list []store.Outcome) ([]store.Outcome, error) {
		return s.Spool.Settle(ctx, list)
	})
}

// translated calls f with a changed list, and changes what it returns back.
func translated[T any](list []T, change func(*T), f func([]T) ([]T, error)) ([]T, error) {
	list = slices.Clone(list)
	for i := range list {
		change(&list[i])
	}
	lost, err := f(list)
	for i := range lost {
		change(&lost[i])
	}
	return lost, err
}
