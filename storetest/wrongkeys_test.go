package storetest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// A puts makes a Put of another one.
type puts func(ctx context.Context, right store.Spool, m store.Mail, ds []store.Delivery, body io.Reader, events []store.Event) error

type putsWith struct {
	store.Spool
	put puts
}

func (s putsWith) Put(ctx context.Context, m store.Mail, ds []store.Delivery, body io.Reader, events ...store.Event) error {
	return s.put(ctx, s.Spool, m, ds, body, events)
}

func wrongPut(put puts) func(store.Spool) store.Spool {
	return func(s store.Spool) store.Spool { return putsWith{s, put} }
}

// changed makes a Put that changes the mail first.
func changed(change func(*store.Mail)) func(store.Spool) store.Spool {
	return wrongPut(func(ctx context.Context, right store.Spool, m store.Mail, ds []store.Delivery, body io.Reader, events []store.Event) error {
		change(&m)
		return right.Put(ctx, m, ds, body, events...)
	})
}

const keyIsKept = "Until then a Put of another ID with that Username and Key changes nothing and returns a [*DuplicateError]."

func init() { maps.Copy(spoolMistakes, keyMistakes) }

var keyMistakes = map[string]spoolMistake{
	"keys are ignored": {
		make: changed(func(m *store.Mail) { m.Key = "" }), name: "Put/Key", words: keyIsKept,
	},
	"keys are folded to lower case": {
		make: changed(func(m *store.Mail) { m.Key = string(bytes.ToLower([]byte(m.Key))) }), name: "Put/KeyOtherUser", words: keyIsKept,
	},
	"fingerprints are ignored": {
		make: changed(func(m *store.Mail) { m.Fingerprint = "" }), name: "Put/KeyOfAnotherMail", words: "Its Differs says whether the Fingerprint is another one.",
	},
	"the key goes with the mail": {
		make:  func(s store.Spool) store.Spool { return &forgets{Spool: s, of: make(map[string]string)} },
		name:  "Put/Key",
		words: "also when the mail is gone",
	},
	"all users share their keys": {
		make: func(s store.Spool) store.Spool { return &forgets{Spool: s, of: make(map[string]string), all: true} },
		name: "Put/KeyOtherUser", words: keyIsKept,
	},
	"a repeated Put is a duplicate of itself": {
		make: func(s store.Spool) store.Spool { return &forgets{Spool: s, of: make(map[string]string), strict: true} },
		name: "Put/KeyTwice", words: "A Put of the same ID returns nil.",
	},
	"a Put that fails keeps its key": {
		make: wrongPut(func(ctx context.Context, right store.Spool, m store.Mail, ds []store.Delivery, body io.Reader, events []store.Event) error {
			err := right.Put(ctx, m, ds, body, events...)
			var dup *store.DuplicateError
			if err != nil && m.Key != "" && !errors.As(err, &dup) {
				m.ID, m.Size = m.ID+"failed", 0
				right.Put(ctx, m, ds, new(bytes.Buffer))
			}
			return err
		}),
		name: "Put/KeyOfAFailedPut", words: "A Put that fails keeps no Key.",
	},
	"keys are kept for ever": {
		make: changed(func(m *store.Mail) {
			if m.Key != "" {
				m.Received = m.Received.Truncate(48 * time.Hour)
			}
		}),
		name: "Put/KeyAfterADay", words: "The time that counts is m.Received.",
	},
	"the key comes back": {
		make: func(s store.Spool) store.Spool { return showsKeys{s} }, name: "Put/KeyIsForPutOnly",
		words: "what Lease and Deliveries return has neither",
	},
	"the key is looked up, then kept": {
		make:  func(s store.Spool) store.Spool { return &forgets{Spool: s, of: make(map[string]string), slow: true} },
		name:  "Put/KeyRace",
		words: keyIsKept,
	},
}

// forgets keeps keys itself, in one of several wrong ways.
type forgets struct {
	store.Spool
	mu   sync.Mutex
	of   map[string]string // the first mail of a key
	all  bool              // keys are those of all users
	slow bool              // a key is kept after the mail

	strict bool // the same ID is not an exception
}

func (s *forgets) Put(ctx context.Context, m store.Mail, ds []store.Delivery, body io.Reader, events ...store.Event) error {
	name := m.Username + "\x00" + m.Key
	if s.all {
		name = m.Key
	}
	key := m.Key
	m.Key = ""
	if key == "" {
		return s.Spool.Put(ctx, m, ds, body, events...)
	}
	s.mu.Lock()
	first, ok := s.of[name]
	s.mu.Unlock()
	if ok && (first != m.ID || s.strict) && (s.all || s.slow || s.has(ctx, first)) {
		return &store.DuplicateError{ID: first}
	}
	if s.slow {
		time.Sleep(2 * time.Millisecond)
	}
	err := s.Spool.Put(ctx, m, ds, body, events...)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.of[name] = m.ID
	}
	return err
}

func (s *forgets) has(ctx context.Context, id string) bool {
	body, err := s.Body(ctx, id)
	if err == nil {
		body.Close()
	}
	return err == nil
}

type showsKeys struct{ store.Spool }

func (s showsKeys) Lease(ctx context.Context, r store.LeaseRequest) ([]store.Leased, error) {
	leased, err := s.Spool.Lease(ctx, r)
	for i := range leased {
		leased[i].Mail.Key = "k1"
	}
	return leased, err
}
