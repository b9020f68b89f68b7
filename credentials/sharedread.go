package credentials

import (
	"context"
	"errors"
	"sync"

	"github.com/gatepost-mail/gatepost/internal/yield"
	"github.com/gatepost-mail/gatepost/store"
)

// sharedReads lets calls that read one user at the same time share a read of the store.
// A call shares only a read that begins after the call does, so each caller sees every
// change made before its call.
type sharedReads struct {
	mu   sync.Mutex
	next map[string]*sharedRead // the reads that have not begun, by username
}

// A sharedRead is a read of a user for one or more callers.
type sharedRead struct {
	username string
	callers  int                // who still wants the result; guarded by sharedReads.mu
	cancel   context.CancelFunc // ends the read, if it has begun for several callers; as callers
	done     chan struct{}      // closed when the fields below are set

	user      store.User
	hash, old string
	err       error
}

// errReadPanicked is what the other callers get if the store panics.
var errReadPanicked = errors.New("the store panicked")

// lookup is [store.Store.Lookup]. The first caller reads, and returns when the read ends,
// which is later than its context does if other callers wait for the result.
func (s *sharedReads) lookup(ctx context.Context, from store.Store, username string) (u store.User, hash, old string, err error) {
	r, first := s.join(username)
	if first {
		yield.Briefly() // on a busy machine more callers come meanwhile
		s.read(ctx, from, r)
		return r.user, r.hash, r.old, r.err
	}
	select {
	case <-r.done:
		return r.user, r.hash, r.old, r.err
	case <-ctx.Done():
		s.leave(r)
		return store.User{}, "", "", ctx.Err()
	}
}

// join returns the next read of a user. If first is true, the caller must call read.
func (s *sharedReads) join(username string) (r *sharedRead, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.next[username]; r != nil {
		r.callers++
		return r, false
	}
	if s.next == nil {
		s.next = make(map[string]*sharedRead)
	}
	r = &sharedRead{username: username, callers: 1, done: make(chan struct{}), err: errReadPanicked}
	s.next[username] = r
	return r, true
}

// leave ends a read when its last caller has left.
func (s *sharedReads) leave(r *sharedRead) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.callers--; r.callers == 0 {
		r.cancel()
	}
}

// read reads the user. Later callers do not join r any more.
func (s *sharedReads) read(ctx context.Context, from store.Store, r *sharedRead) {
	defer close(r.done)
	if reading, shared := s.begin(ctx, r); shared {
		defer r.cancel()
		defer context.AfterFunc(ctx, func() { s.leave(r) })()
		ctx = reading
	}
	r.user, r.hash, r.old, r.err = from.Lookup(ctx, r.username)
}

// begin ends the time in which callers join a read. If there are several, it returns the
// context of the read.
func (s *sharedReads) begin(ctx context.Context, r *sharedRead) (reading context.Context, shared bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.next, r.username)
	if r.callers == 1 {
		return nil, false
	}
	reading, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return reading, true
}
