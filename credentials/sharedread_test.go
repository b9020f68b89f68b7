package credentials

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// A slowStore answers a Lookup when it is told to, with the user of the moment at which
// the Lookup began.
type slowStore struct {
	store.Store
	reads  int
	answer chan struct{} // nil: at once
	panics bool
}

func (s *slowStore) Lookup(ctx context.Context, username string) (store.User, string, string, error) {
	s.reads++
	if s.panics {
		panic("a mistake in the adapter")
	}
	if err := ctx.Err(); err != nil {
		return store.User{}, "", "", err
	}
	u, hash, old, err := s.Store.Lookup(ctx, username)
	if s.answer == nil {
		return u, hash, old, err
	}
	select {
	case <-s.answer:
		return u, hash, old, err
	case <-ctx.Done():
		return store.User{}, "", "", ctx.Err()
	}
}

// inReads runs f in a bubble with a store that has a user, and the user's username.
func inReads(t *testing.T, f func(t *testing.T, s *slowStore, acme Tenant, username string)) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowStore{Store: new(memory.Store)}
		m := &Manager{Store: s, Cost: Cost{MemoryKiB: 16, Time: 2, Threads: 1}}
		acme := m.Tenant("acme")
		if _, err := acme.AddDomain(t.Context(), "acme.example"); err != nil {
			t.Fatal(err)
		}
		u, _, err := acme.AddUser(t.Context(), "acme.example", "shop")
		if err != nil {
			t.Fatal(err)
		}
		f(t, s, acme, u.Username)
	})
}

// lookups starts n lookups and returns where their errors arrive.
func lookups(ctx context.Context, r *sharedReads, s *slowStore, username string, n int) chan error {
	errs := make(chan error, n)
	for range n {
		go func() {
			u, hash, _, err := r.lookup(ctx, s, username)
			if err == nil && (u.Username != username || hash == "") {
				err = errors.New("another user")
			}
			errs <- err
		}()
	}
	synctest.Wait()
	return errs
}

// Calls that come before a read begins share it, also if the context of the one that
// reads has ended.
func TestSharedRead(t *testing.T) {
	inReads(t, func(t *testing.T, s *slowStore, _ Tenant, username string) {
		var reads sharedReads
		r, first := reads.join(username)
		others := lookups(t.Context(), &reads, s, username, 3)
		ended, end := context.WithCancel(t.Context())
		end()
		reads.read(ended, s, r)
		if !first || r.err != nil {
			t.Errorf("the first call: first is %t, error is %v, want true and none", first, r.err)
		}
		for range 3 {
			if err := <-others; err != nil {
				t.Errorf("another call: error is %v, want none", err)
			}
		}
		if s.reads != 1 || len(reads.next) != 0 {
			t.Errorf("the store was read %d times, and %d reads are left; want 1 and 0", s.reads, len(reads.next))
		}
	})
}

// A call does not share a read that has begun: what was changed in between counts.
func TestNoOldRead(t *testing.T) {
	inReads(t, func(t *testing.T, s *slowStore, acme Tenant, username string) {
		u, err := acme.User(t.Context(), username)
		if err != nil {
			t.Fatal(err)
		}
		s.answer = make(chan struct{})
		valid := func() chan error {
			result := make(chan error, 1)
			go func() { result <- acme.m.Validate(t.Context(), IdentityOf(u)) }()
			synctest.Wait()
			return result
		}
		before := valid()
		if err := s.Store.DeleteUser(t.Context(), "acme", username); err != nil {
			t.Fatal(err)
		}
		after := valid()
		close(s.answer)
		if err := <-before; err != nil {
			t.Errorf("Validate before the user was deleted: error is %v, want none", err)
		}
		if err := <-after; !errors.Is(err, ErrRevoked) {
			t.Errorf("Validate after that: error is %v, want ErrRevoked", err)
		}
	})
}

// A caller whose context ends does not wait for the read of another.
func TestSharedReadLeft(t *testing.T) {
	inReads(t, func(t *testing.T, s *slowStore, _ Tenant, username string) {
		var reads sharedReads
		r, _ := reads.join(username)
		ctx, end := context.WithCancel(t.Context())
		other := lookups(ctx, &reads, s, username, 1)
		end()
		if err := <-other; !errors.Is(err, context.Canceled) {
			t.Errorf("error is %v, want context.Canceled", err)
		}
		reads.read(t.Context(), s, r)
	})
}

// A read ends when all of its callers have left.
func TestSharedReadThatNobodyWants(t *testing.T) {
	inReads(t, func(t *testing.T, s *slowStore, _ Tenant, username string) {
		s.answer = make(chan struct{}) // never
		var reads sharedReads
		r, _ := reads.join(username)
		first, endFirst := context.WithTimeout(t.Context(), time.Second)
		defer endFirst()
		second, endSecond := context.WithTimeout(t.Context(), 3*time.Second)
		defer endSecond()
		other := lookups(second, &reads, s, username, 1)
		start := time.Now()
		reads.read(first, s, r)
		if took := time.Since(start); took != 3*time.Second || r.err == nil {
			t.Errorf("the read took %v, error is %v; want 3s and an error", took, r.err)
		}
		if err := <-other; err == nil {
			t.Error("the second caller got no error")
		}
	})
}

// If the store panics, the other callers get an error.
func TestSharedReadPanics(t *testing.T) {
	inReads(t, func(t *testing.T, s *slowStore, _ Tenant, username string) {
		var reads sharedReads
		r, _ := reads.join(username)
		other := lookups(t.Context(), &reads, s, username, 1)
		s.panics = true
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic of the store was swallowed")
				}
			}()
			reads.read(t.Context(), s, r)
		}()
		if err := <-other; !errors.Is(err, errReadPanicked) {
			t.Errorf("the other caller: error is %v, want errReadPanicked", err)
		}
	})
}
