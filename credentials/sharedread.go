package credentials

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// sharedReads lets calls that read one user at the same time share a read of the store.
// A call shares only a read that begins after the call does, so it sees all that had
// been changed by then.
type sharedReads struct {
	mu   sync.Mutex
	next map[string]*sharedRead // by username, those that have not begun
}

// A sharedRead is a read of a user for one or more callers.
type sharedRead struct {
	username string
	shared   bool          // a second caller waits; guarded by sharedReads.mu
	done     chan struct{} // closed when the fields below are set

	user      store.User
	hash, old string
	err       error
}

// readYields is how often the first caller lets other goroutines run before its read
// begins: on a busy machine more callers come by then, on an idle one it takes no time.
const readYields = 10

// sharedReadTime is how long a read with several callers may take.
const sharedReadTime = 10 * time.Second

// errReadPanicked is what the other callers get if the store panics.
var errReadPanicked = errors.New("the store panicked")

// lookup is [store.Store.Lookup]. The end of one caller's context does not end a read
// for which others wait.
func (s *sharedReads) lookup(ctx context.Context, from store.Store, username string) (u store.User, hash, old string, err error) {
	r, first := s.join(username)
	if first {
		for range readYields {
			runtime.Gosched()
		}
		s.read(ctx, from, r)
		return r.user, r.hash, r.old, r.err
	}
	select {
	case <-r.done:
		return r.user, r.hash, r.old, r.err
	case <-ctx.Done():
		return store.User{}, "", "", ctx.Err()
	}
}

// join returns the next read of a user. first tells the caller to do it.
func (s *sharedReads) join(username string) (r *sharedRead, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.next[username]; r != nil {
		r.shared = true
		return r, false
	}
	if s.next == nil {
		s.next = make(map[string]*sharedRead)
	}
	r = &sharedRead{username: username, done: make(chan struct{}), err: errReadPanicked}
	s.next[username] = r
	return r, true
}

// read reads the user. Later callers do not join r any more.
func (s *sharedReads) read(ctx context.Context, from store.Store, r *sharedRead) {
	defer close(r.done)
	s.mu.Lock()
	delete(s.next, r.username)
	shared := r.shared
	s.mu.Unlock()
	if shared {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), sharedReadTime)
		defer cancel()
	}
	r.user, r.hash, r.old, r.err = from.Lookup(ctx, r.username)
}
