package suppress

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatepost-mail/gatepost/internal/mailtext"
	"github.com/gatepost-mail/gatepost/store"
)

// A List refuses recipients to which the tenant should not send. Set the fields, then
// use its methods; they may be called from several goroutines. The fields must not be
// changed after that. A List must not be copied, and needs no closing. Any number of
// Lists in any number of processes may share a Store.
//
// Addresses are compared without regard to the case of the letters A to Z, and their
// domains as A-labels. Nothing else is folded: bob+shop@example.net is another address
// than bob@example.net.
type List struct {
	// Store keeps the list. Required.
	Store store.Suppressions

	// History is the [store.History] of the relay. It tells two things: whether mail was
	// delivered to an address in the last 30 days, and whether a message had several
	// recipients. One refusal does not suppress an address that took mail. One report of
	// a late bounce does not suppress a recipient of a message that had several. If
	// History is nil, one refusal suppresses any address, and one report suppresses none.
	History interface {
		Activities(ctx context.Context, tenant store.TenantID, f store.ActivityFilter) (store.ActivityPage, error)
		ActivitiesByKey(ctx context.Context, keys []store.ActivityKey) ([]store.Activity, error)
	}

	// Keep is how long an address stays that was learned from a refusal. Zero means
	// 30 days. An address that Add has added stays until it is removed.
	Keep time.Duration

	// Refresh is how often this process looks for addresses that others have added.
	// Zero means 5 seconds. Removals by others count at once.
	Refresh time.Duration

	// MaxMemory is how many addresses are remembered, of all tenants together. Each
	// takes about 24 bytes. The addresses of tenants that have not sent for longest
	// are forgotten first. A tenant with more than half of MaxMemory is not remembered:
	// each of its recipients is looked up in the Store. Zero means 2 million.
	MaxMemory int

	// Logger gets a line for each address that is learned or forgotten, and a
	// warning if learning stops. Nil means slog.Default().
	Logger *slog.Logger

	memory memory
	bursts bursts

	learned, forgotten, refused, stops atomic.Int64

	mu      sync.Mutex
	expired time.Time // when the Store was last asked to remove what has expired
}

func (l *List) keep() time.Duration { return positive(l.Keep, 30*24*time.Hour) }

func positive[T int | time.Duration](n, otherwise T) T {
	if n <= 0 {
		return otherwise
	}
	return n
}

func (l *List) logger() *slog.Logger { return cmp.Or(l.Logger, slog.Default()) }

// now returns the time as a Store keeps it.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// ErrAddress is the error for a text that is not an address, such as one that a person
// mistyped. Match it with [errors.Is].
var ErrAddress = errors.New("suppress: not an address")

func errAddress(addr string) error {
	return fmt.Errorf("%w: %q: use local@domain, at most %d bytes", ErrAddress, mailtext.OneLineUTF8(addr, maxAddress), maxAddress)
}

var (
	errStore  = errors.New("suppress: List.Store is required")
	errFilter = errors.New("suppress: the filter selects the whole list: set a field of it")
)

// Add adds an address, or changes why it is on the list. source is
// [store.SuppressedByPerson] or [store.SuppressedByComplaint]. The tenant's clients are
// told the reason. The address stays until it is removed: no delivery and no time
// removes it. If it is on the list for the same reason already, Add writes nothing.
// [ErrAddress]: addr is not an address.
func (l *List) Add(ctx context.Context, tenant store.TenantID, addr string, source store.SuppressionSource, reason string) error {
	folded, ok := fold(addr)
	switch {
	case tenant == "":
		return errors.New("suppress: the tenant is empty")
	case !ok:
		return errAddress(addr)
	case source != store.SuppressedByPerson && source != store.SuppressedByComplaint:
		return fmt.Errorf("suppress: the source %d is not one that can be added: use store.SuppressedByPerson or store.SuppressedByComplaint", source)
	}
	k := key{tenant, folded}
	_, err := l.change(ctx, []key{k}, func(su *store.Suppression) (bool, error) {
		was, since := *su, su.Since
		if !su.Suppresses(now()) {
			since = now()
		}
		*su = store.Suppression{
			Tenant: tenant, Address: folded, Source: source, Since: since, Reason: mailtext.OneLineUTF8(reason, maxReason),
			Cleared: su.Cleared, Changed: su.Changed, Version: su.Version,
		}
		return *su != was, nil
	})
	if err == nil {
		l.memory.add(k) // also if another process has added it
	}
	return wrap("add", err)
}

// maxReason is the longest reason, in bytes.
const maxReason = 1000

// Remove removes an address, whatever put it on the list. It counts at once, on every
// node. Refusals from before do not put the address back; a later one does.
// [store.ErrNotFound]: it is not on the tenant's list.
func (l *List) Remove(ctx context.Context, tenant store.TenantID, addr string) error {
	folded, ok := fold(addr)
	if !ok {
		return errAddress(addr)
	}
	done, err := l.change(ctx, []key{{tenant, folded}}, clearing(store.SuppressionFilter{}))
	if err == nil && len(done) == 0 {
		err = store.ErrNotFound
	}
	return wrap("remove", notListed(folded, err))
}

// notListed says of which address an error is that says that it was not found.
func notListed(addr string, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%s is not on the list: %w", addr, err)
	}
	return err
}

// RemoveAll removes all addresses that match the filter, as Remove does, and returns
// how many. At is not used. A filter without a field is an error. If RemoveAll fails,
// it has removed some of them and can be repeated.
func (l *List) RemoveAll(ctx context.Context, tenant store.TenantID, f store.SuppressionFilter) (removed int, err error) {
	if f.At = (time.Time{}); f == (store.SuppressionFilter{}) {
		return 0, errFilter
	}
	page := store.Page{Limit: batch}
	for {
		list, err := l.Addresses(ctx, tenant, f, page)
		if err != nil {
			return removed, err
		}
		keys := make([]key, len(list))
		for i, su := range list {
			keys[i] = key{tenant, su.Address}
		}
		done, err := l.change(ctx, keys, clearing(f))
		removed += len(done)
		if err != nil {
			return removed, wrap("remove", err)
		}
		if len(list) < batch {
			return removed, nil
		}
		page.After = list[len(list)-1].Address
	}
}

// clearing clears what suppresses now and matches the filter.
func clearing(f store.SuppressionFilter) func(su *store.Suppression) (bool, error) {
	return func(su *store.Suppression) (bool, error) {
		if f.At = now(); !f.Match(su) {
			return false, nil
		}
		forget(su, f.At)
		return true, nil
	}
}

// Get returns why and since when an address is on the list. [store.ErrNotFound]: it is
// not on the tenant's list.
func (l *List) Get(ctx context.Context, tenant store.TenantID, addr string) (store.Suppression, error) {
	folded, ok := fold(addr)
	if !ok {
		return store.Suppression{}, errAddress(addr)
	}
	if l.Store == nil {
		return store.Suppression{}, errStore
	}
	su, err := l.Store.Suppression(ctx, tenant, folded)
	if err == nil && !su.Suppresses(now()) {
		su, err = store.Suppression{}, store.ErrNotFound
	}
	return su, wrap("get", notListed(folded, err))
}

// Addresses lists the addresses on the list that match the filter, by address. The
// zero filter matches all. f.At is not used. page.After is the Address of the last one
// of the page before.
func (l *List) Addresses(ctx context.Context, tenant store.TenantID, f store.SuppressionFilter, page store.Page) ([]store.Suppression, error) {
	if l.Store == nil {
		return nil, errStore
	}
	f.At = now()
	list, err := l.Store.ListSuppressions(ctx, tenant, f, page)
	return list, wrap("list", err)
}

func wrap(op string, err error) error {
	if err == nil || err == errStore {
		return err
	}
	return fmt.Errorf("suppress: %s: %w", op, err)
}
