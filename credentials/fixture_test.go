package credentials_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
	"github.com/gatepost-mail/gatepost/store/memory"
)

// cheap is the cost of passwords in most tests.
var cheap = credentials.Cost{MemoryKiB: 16, Time: 2, Threads: 1}

var (
	here  = netip.MustParseAddr("192.0.2.1")
	there = netip.MustParseAddr("198.51.100.7")
)

const domain = "acme.example"

// A fixture is a Manager with the tenant acme, its domain and one user.
type fixture struct {
	*credentials.Manager
	t        testing.TB
	spy      *spy
	acme     credentials.Tenant
	user     store.User
	password credentials.Password
	guesses  int
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	s := &spy{Store: new(memory.Store)}
	m := &credentials.Manager{Store: s, Cost: cheap, Logger: logTo(io.Discard)}
	f := &fixture{Manager: m, t: t, spy: s, acme: m.Tenant("acme")}
	_, err := f.acme.AddDomain(t.Context(), domain)
	must(t, err)
	f.user, f.password = f.add("billing")
	return f
}

// add adds another user.
func (f *fixture) add(name string) (store.User, credentials.Password) {
	f.t.Helper()
	u, p, err := f.acme.AddUser(f.t.Context(), domain, name)
	must(f.t, err)
	return u, p
}

// login logs in with the text of a password.
func (f *fixture) login(username, password string, from netip.Addr) error {
	_, err := f.Authenticate(f.t.Context(), username, credentials.NewPassword(password), from)
	return err
}

// hashes returns how many hashes do computes.
func (f *fixture) hashes(do func()) float64 {
	before := f.Hashes()
	do()
	return f.Hashes() - before
}

// lastConnection returns the last connection that the store has.
func (f *fixture) lastConnection() (time.Time, netip.Addr) {
	f.t.Helper()
	u, err := f.acme.User(f.t.Context(), f.user.Username)
	must(f.t, err)
	return u.LastConnection, u.LastConnectionFrom
}

// A spy is a store that records calls and can be made to fail.
type spy struct {
	store.Store
	mu          sync.Mutex
	lookup      func() error // called before each Lookup, if set
	user        func() error // called before each User, if set
	recordLogin func() error // called before each RecordLogin, if set
	rotate      func()       // called before each RotatePassword, if set
	hash        string       // returned by Lookup instead of the hash, if set
	taken       int          // how many further calls of AddUser return ErrTaken
	passwords   []string     // the hashes that were stored
	usernames   []string     // the arguments of Lookup
	logins      int          // calls of RecordLogin
}

func (s *spy) Lookup(ctx context.Context, username string) (store.User, string, string, error) {
	s.mu.Lock()
	s.usernames = append(s.usernames, username)
	s.mu.Unlock()
	if s.lookup != nil {
		if err := s.lookup(); err != nil {
			return store.User{}, "", "", err
		}
	}
	u, hash, old, err := s.Store.Lookup(ctx, username)
	if err == nil && s.hash != "" {
		hash = s.hash
	}
	return u, hash, old, err
}

func (s *spy) RotatePassword(ctx context.Context, tenant store.TenantID, username string, generation int64, hash string, at, until time.Time) error {
	if s.rotate != nil {
		s.rotate()
	}
	return s.Store.RotatePassword(ctx, tenant, username, generation, hash, at, until)
}

func (s *spy) User(ctx context.Context, tenant store.TenantID, username string) (store.User, error) {
	if s.user != nil {
		if err := s.user(); err != nil {
			return store.User{}, err
		}
	}
	return s.Store.User(ctx, tenant, username)
}

func (s *spy) RecordLogin(ctx context.Context, username string, generation int64, at time.Time, from netip.Addr) error {
	s.mu.Lock()
	s.logins++
	s.mu.Unlock()
	if s.recordLogin != nil {
		if err := s.recordLogin(); err != nil {
			return err
		}
	}
	return s.Store.RecordLogin(ctx, username, generation, at, from)
}

func (s *spy) AddUser(ctx context.Context, u store.User, hash string, limit int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken > 0 {
		s.taken--
		return store.ErrTaken
	}
	s.passwords = append(s.passwords, hash)
	return s.Store.AddUser(ctx, u, hash, limit)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error is %v, want %v", err, want)
	}
}

func logTo(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// isInvalid reports whether err is an InvalidError.
func isInvalid(err error) bool {
	var invalid *credentials.InvalidError
	return errors.As(err, &invalid)
}
