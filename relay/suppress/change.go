package suppress

import (
	"context"
	"slices"
	"time"

	"github.com/gatepost-mail/gatepost/store"
)

// A key names a suppression.
type key struct {
	tenant  store.TenantID
	address string
}

// batch is how many suppressions one call of the Store changes or lists.
const batch = 1000

// tries is how often a suppression is read again because another caller has changed it
// in between.
const tries = 20

// marker is how long the row of a cleared suppression stays. Refusals from before it
// was cleared must have been learned by then.
const marker = 7 * 24 * time.Hour

// forget makes a suppression one that suppresses nothing, and to which refusals up to
// a time do not count.
func forget(su *store.Suppression, at time.Time) {
	*su = store.Suppression{Tenant: su.Tenant, Address: su.Address, Cleared: at, Until: at.Add(marker), Version: su.Version}
}

// change calls f with what is known of each key, which is a suppression of Version 0 if
// nothing is, and writes what f has changed if f returns true. f is called again if
// another caller changes the suppression in between. change returns what was written.
func (l *List) change(ctx context.Context, keys []key, f func(*store.Suppression) (bool, error)) (done []store.Suppression, err error) {
	if l.Store == nil {
		return nil, errStore
	}
	for chunk := range slices.Chunk(keys, batch) {
		for try := 0; len(chunk) > 0; try++ {
			if try == tries {
				return done, store.ErrConflict
			}
			list, err := l.changed(ctx, chunk, f)
			if err != nil {
				return done, err
			}
			lost, err := l.Store.Suppress(ctx, list)
			if err != nil {
				return done, err
			}
			chunk = nil
			for _, su := range lost {
				chunk = append(chunk, key{su.Tenant, su.Address})
			}
			for _, su := range list {
				if k := (key{su.Tenant, su.Address}); !slices.Contains(chunk, k) {
					l.memory.add(k)
					done = append(done, su)
				}
			}
		}
	}
	return done, l.expire(ctx)
}

// changed reads the keys and returns the suppressions that f has changed.
func (l *List) changed(ctx context.Context, keys []key, f func(*store.Suppression) (bool, error)) (list []store.Suppression, err error) {
	found, err := l.find(ctx, keys)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		su, ok := found[k]
		if !ok {
			su = store.Suppression{Tenant: k.tenant, Address: k.address}
		}
		write, err := f(&su)
		if err != nil {
			return nil, err
		}
		if write {
			su.Changed = now()
			list = append(list, su)
		}
	}
	return list, nil
}

// find returns what the Store has of the keys.
func (l *List) find(ctx context.Context, keys []key) (map[key]store.Suppression, error) {
	asked := make([]store.SuppressionKey, len(keys))
	for i, k := range keys {
		asked[i] = store.SuppressionKey{Tenant: k.tenant, Address: k.address}
	}
	list, err := l.Store.SuppressionsByKey(ctx, asked)
	if err != nil {
		return nil, err
	}
	found := make(map[key]store.Suppression, len(list))
	for _, su := range list {
		found[key{su.Tenant, su.Address}] = su
	}
	return found, nil
}

// expire removes what has expired from the Store, once a minute at most.
func (l *List) expire(ctx context.Context) error {
	l.mu.Lock()
	due := time.Since(l.expired) >= time.Minute
	if due {
		l.expired = time.Now()
	}
	l.mu.Unlock()
	if !due {
		return nil
	}
	_, err := l.Store.ExpireSuppressions(ctx, now(), batch)
	return err
}
