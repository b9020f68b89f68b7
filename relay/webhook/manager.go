package webhook

import (
	"cmp"
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepost-mail/gatepost/credentials"
	"github.com/gatepost-mail/gatepost/store"
)

// A Manager keeps the endpoints of all tenants in a Store, with their secrets and the last
// requests to each. It is for a product that has no table of its own for them:
//
//	hooks := &webhook.Sender{Queue: …}
//	endpoints := &webhook.Manager{Store: st, Sender: hooks, Secret: secret}
//	hooks.Endpoints, hooks.OnGone, hooks.OnAttempt = endpoints.Endpoints, endpoints.OnGone, endpoints.OnAttempt
//	go endpoints.Run(ctx)
//
// Set the fields, then use its methods; they may be called from several goroutines. The
// fields must not be changed after that. A Manager must not be copied. Any number of
// Managers in any number of processes may share a Store; their settings must be the same.
// A call with an empty tenant is an error, except Endpoints, which returns none.
type Manager struct {
	// Store keeps the endpoints. Required.
	Store store.Endpoints

	// Sender says which URLs are allowed, and sends test events. A process that only
	// has the screens needs a Sender with AllowAddr, AllowHTTP, TLSConfig and Timeout
	// as in the others, and nothing more. Required.
	Sender *Sender

	// Secret, of at least 32 bytes, seals the URLs and the secrets in the Store
	// (AES-256-GCM): a URL may hold a password too. If it is lost, events wait in the
	// queue, and tenants have to delete their endpoints and add them again. The zero
	// Password means that both are stored as they are.
	Secret credentials.Password

	// Max is how many endpoints a tenant may have. Zero and less mean 10. Endpoints
	// beyond a lower Max than before stay.
	Max int

	// Overlap is how long an old secret signs too after Rotate. Zero means 24 hours,
	// less than zero means that it ends at once.
	Overlap time.Duration

	// SwitchOffAfter is how long all requests to an endpoint may fail until it is
	// switched off, at the next failure, if at least 3 have failed. Tests do not count.
	// Zero means 5 days, less than zero means never.
	SwitchOffAfter time.Duration

	// OnSwitchedOff, if set, is told that the Manager has switched an endpoint off:
	// it answered 410, or its requests failed for too long. The product should tell
	// the tenant. It is called in the process that switched it off, at most once.
	OnSwitchedOff func(ctx context.Context, tenant store.TenantID, e Entry)

	// Logger gets a line for each endpoint that the Manager switches off. Nil means
	// slog.Default().
	Logger *slog.Logger

	once   sync.Once
	broken error // why the Manager cannot be used
	aead   cipher.AEAD

	known    known
	attempts attempts
	running  atomic.Bool // whether Run is being called
}

// An Entry is an endpoint of a [Manager], without its secrets.
type Entry struct {
	ID      string
	URL     string   // empty if it was sealed with another Secret; it may hold a password
	Types   []string // as in [Endpoint]
	Created time.Time

	// Off is why the endpoint gets no events: [OffGone], [OffFailing] or the words of a
	// person. It is empty if the endpoint gets them. OffSince is since when.
	Off      string
	OffSince time.Time

	// Failing is when the first of the requests failed since the last one that did
	// not; zero if the last one did not fail. It is some seconds late. Tests that fail
	// do not count.
	Failing time.Time

	SecretSet time.Time // when the newest secret was made

	// OldSecretUntil is until when a secret before the last Rotate signs too; zero if
	// none does.
	OldSecretUntil time.Time
}

// Why a Manager has switched an endpoint off.
const (
	OffGone    = "it answered 410 Gone, which means that it wants no more events"
	OffFailing = "its requests have failed for too long"
)

// ErrLimit is the error of Add for a tenant that has [Manager].Max endpoints.
var ErrLimit = errors.New("webhook: the tenant has as many endpoints as are allowed")

// An InvalidError says why a value is not allowed, in words that may be shown to the
// tenant.
type InvalidError struct {
	Field  string // "url", "types", "reason" or "id"
	Reason string
}

func (e *InvalidError) Error() string { return "webhook: " + e.Field + ": " + e.Reason }

const (
	maxURL   = 2048 // bytes
	maxTypes = 1000 // bytes of all types, with a space between them
	maxOff   = 1000 // bytes of the reason
)

// errNoTenant is an error of the caller's: an empty tenant would be that of all callers
// that forgot theirs.
var errNoTenant = errors.New("webhook: no tenant: the ID is empty")

// readyFor is ready, for a method that works for one tenant.
func (m *Manager) readyFor(tenant store.TenantID) error {
	if err := m.ready(); err != nil {
		return err
	}
	if tenant == "" {
		return errNoTenant
	}
	return nil
}

// ready prepares the Manager on its first use.
func (m *Manager) ready() error {
	m.once.Do(func() {
		switch {
		case m.Store == nil:
			m.broken = errors.New("webhook: Manager.Store is required")
		case m.Sender == nil:
			m.broken = errors.New("webhook: Manager.Sender is required")
		default:
			m.aead, m.broken = newSeal(m.Secret.Reveal())
		}
	})
	return m.broken
}

func (m *Manager) logger() *slog.Logger { return cmp.Or(m.Logger, slog.Default()) }

func (m *Manager) max() int {
	if m.Max <= 0 {
		return 10
	}
	return m.Max
}

// Limit returns how many endpoints a tenant may have.
func (m *Manager) Limit() int { return m.max() }

// now returns the time as a Store keeps it.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

func wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("webhook: %s: %w", op, err)
}

// List returns the endpoints of a tenant, the oldest first.
func (m *Manager) List(ctx context.Context, tenant store.TenantID) ([]Entry, error) {
	list, err := m.read(ctx, tenant)
	entries := make([]Entry, len(list))
	for i := range list {
		entries[i], _ = m.entry(&list[i])
	}
	slices.SortStableFunc(entries, func(a, b Entry) int { return a.Created.Compare(b.Created) })
	return entries, wrap("list endpoints", err)
}

// Get returns one endpoint. [store.ErrNotFound]: the tenant has none of this ID.
func (m *Manager) Get(ctx context.Context, tenant store.TenantID, id string) (Entry, error) {
	e, err := m.get(ctx, tenant, id)
	if err != nil {
		return Entry{}, wrap("get endpoint", err)
	}
	entry, _ := m.entry(&e)
	return entry, nil
}

func (m *Manager) read(ctx context.Context, tenant store.TenantID) ([]store.Endpoint, error) {
	if err := m.readyFor(tenant); err != nil {
		return nil, err
	}
	return m.Store.ListEndpoints(ctx, []store.TenantID{tenant})
}

func (m *Manager) get(ctx context.Context, tenant store.TenantID, id string) (store.Endpoint, error) {
	list, err := m.read(ctx, tenant)
	if err != nil {
		return store.Endpoint{}, err
	}
	for _, e := range list {
		if e.ID == id {
			return e, nil
		}
	}
	return store.Endpoint{}, noEndpoint(id, store.ErrNotFound)
}

// noEndpoint says of which endpoint an error is that says that it was not found.
func noEndpoint(id string, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("the tenant has no endpoint %.100q: %w", id, err)
	}
	return err
}

// entry returns what is shown of an endpoint. The error says why it cannot be opened.
func (m *Manager) entry(e *store.Endpoint) (Entry, error) {
	k, err := m.open(e)
	return Entry{
		ID: e.ID, URL: k.URL, Types: typesOf(e), Created: e.Created, Off: e.Off, OffSince: e.OffSince, Failing: e.Failing,
		SecretSet: k.set(), OldSecretUntil: k.overlap(time.Now()),
	}, err
}

// typesOf returns the types that an endpoint wants; nil means all.
func typesOf(e *store.Endpoint) []string { return strings.Fields(e.Types) }
